//! What of the usual interpreters and packages a host lacks, with the command that adds it.
//!
//! Read from dpkg's database alone; a host of another kind gets no advice, since its names are not known here.

use std::path::Path;

use serde::Serialize;

use super::dpkg::{Database, STATUS_PATH};
use super::source::SourceTree;

/// Interpreters, and the package that brings each.
const INTERPRETERS: &[(&str, &str)] =
    &[("bash", "bash"), ("Python", "python3"), ("JavaScript (Node)", "nodejs"), ("R", "r-base-core")];

/// What programs in a language import most, without which the language is of little use to generated code.
struct Usual {
    language: &'static str,
    /// The package of the interpreter.
    interpreter: &'static str,
    /// How each is imported, and the package that holds it.
    packages: &'static [(&'static str, &'static str)],
}

/// The usual packages of each language that has any.
const USUAL: &[Usual] = &[
    Usual {
        language: "Python",
        interpreter: "python3",
        packages: &[
            ("numpy", "python3-numpy"),
            ("pandas", "python3-pandas"),
            ("matplotlib", "python3-matplotlib"),
            ("scipy", "python3-scipy"),
            ("sympy", "python3-sympy"),
            ("requests", "python3-requests"),
            ("PIL", "python3-pil"),
            ("openpyxl", "python3-openpyxl"),
            ("yaml", "python3-yaml"),
            ("bs4", "python3-bs4"),
        ],
    },
    Usual {
        language: "R",
        interpreter: "r-base-core",
        packages: &[
            ("ggplot2", "r-cran-ggplot2"),
            ("dplyr", "r-cran-dplyr"),
            ("jsonlite", "r-cran-jsonlite"),
        ],
    },
];

/// Something that a host lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// What is missing, for people.
    pub what: String,
    /// The command that adds it; the next start makes a new image by itself.
    pub command: String,
}

/// What this host lacks of the usual interpreters and packages; nothing where there is no dpkg.
pub fn advice() -> Vec<Advice> {
    let status = SourceTree::open(Path::new("/")).ok().and_then(|tree| tree.read(STATUS_PATH).ok());
    status.map_or_else(Vec::new, |status| advise(&String::from_utf8_lossy(&status)))
}

/// What a system with this package database lacks.
fn advise(status: &str) -> Vec<Advice> {
    let database = Database::parse(status);
    let advice = |what: String, packages: &[&str]| Advice {
        what,
        command: format!("apt-get install --no-install-recommends {}", packages.join(" ")),
    };
    let mut found = Vec::new();
    for (what, package) in INTERPRETERS.iter().filter(|(_, package)| !database.has(package)) {
        found.push(advice((*what).to_owned(), &[package]));
    }
    for Usual { language, interpreter, packages } in USUAL {
        let absent: Vec<_> = packages.iter().filter(|(_, package)| !database.has(package)).collect();
        if absent.is_empty() || !database.has(interpreter) {
            continue;
        }
        let modules: Vec<&str> = absent.iter().map(|(module, _)| *module).collect();
        let packages: Vec<&str> = absent.iter().map(|(_, package)| *package).collect();
        found.push(advice(format!("{language} packages {}", modules.join(", ")), &packages));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(packages: &[&str]) -> String {
        let stanza = |name: &&str| {
            format!("Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\n")
        };
        packages.iter().map(stanza).collect()
    }

    fn told(packages: &[&str]) -> Vec<(String, String)> {
        let advice = advise(&status(packages)).into_iter();
        advice
            .map(|advice| {
                (advice.what, advice.command.replace("apt-get install --no-install-recommends ", ""))
            })
            .collect()
    }

    #[test]
    fn a_bare_host_is_told_of_its_interpreters_and_not_of_their_packages() {
        let lacks = |what: &str, package: &str| (what.to_owned(), package.to_owned());
        assert_eq!(
            told(&["dpkg", "bash"]),
            [lacks("Python", "python3"), lacks("JavaScript (Node)", "nodejs"), lacks("R", "r-base-core")]
        );
    }

    #[test]
    fn packages_of_an_interpreter_that_is_there_come_in_one_command() {
        let has = ["bash", "python3", "nodejs", "python3-numpy", "python3-pandas", "python3-matplotlib"];
        let told = told(&has);
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[0].0, "R");
        assert_eq!(told[1].0, "Python packages scipy, sympy, requests, PIL, openpyxl, yaml, bs4");
        assert!(told[1].1.starts_with("python3-scipy python3-sympy "), "{told:?}");
    }

    #[test]
    fn a_host_that_has_everything_is_told_nothing() {
        let usual = USUAL.iter().flat_map(|usual| usual.packages.iter().map(|(_, package)| *package));
        let has: Vec<&str> = ["bash", "python3", "nodejs", "r-base-core"].into_iter().chain(usual).collect();
        assert_eq!(told(&has), []);
    }
}
