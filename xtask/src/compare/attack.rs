//! The lists of attacks, as the sandbox's tests have them, and what a tool made of one.

use std::env::consts::ARCH;
use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::shell;

/// Where the lists are.
const FOLDER: &str = "crates/sandbox/attacks";

/// What every program begins with.
const PRELUDE: &str = "prelude.py";

/// The classes that mean something to every tool, in the order of the table.
pub(crate) const CLASSES: [&str; 4] = ["resources", "lifetime", "surface", "reach"];

/// What processes are called that programs leave behind.
pub(crate) const LEFT: &str = "execgate-left-compare";

/// How long a program has that says nothing of it, in seconds.
const SECONDS: u64 = 10;

/// What a program may hold that says nothing of it, in MiB: what a run may.
const MEMORY_MIB: u64 = 512;

/// What a program tells first.
const BEGUN: &str = "begun";

/// One attack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attack {
    /// What it is called.
    pub(crate) name: String,
    /// The whole program.
    pub(crate) program: String,
    /// Its deadline, in seconds.
    pub(crate) seconds: u64,
    /// What it may hold, in MiB.
    pub(crate) memory_mib: u64,
    /// Whether it leaves processes behind.
    pub(crate) leaves: bool,
}

/// What came of an attack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The tool held: the program told what it met.
    Held(String),
    /// The program began, was ended or gave up, and told nothing: the tool held.
    Silent(String),
    /// It got through.
    Through(String),
    /// The program never began, so that nothing was tried.
    NotRun(String),
}

#[derive(Deserialize)]
struct Class {
    attack: Vec<Entry>,
}

/// Of an entry, what matters here.
#[derive(Deserialize)]
struct Entry {
    name: String,
    code: String,
    arch: Option<String>,
    seconds: Option<u64>,
    memory_mib: Option<u64>,
    #[serde(default)]
    leaves: bool,
    #[serde(default)]
    ours_only: bool,
}

/// The attacks of a class that concern this machine and every tool.
pub(crate) fn read(class: &str) -> Result<Vec<Attack>> {
    let folder = shell::root().join(FOLDER);
    let path = folder.join(format!("{class}.toml"));
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let prelude = fs::read_to_string(folder.join(PRELUDE)).context("failed to read the prelude")?;
    let Class { attack } =
        toml::from_str(&text).with_context(|| format!("failed to read {}", path.display()))?;
    let concerns = |entry: &Entry| !entry.ours_only && entry.arch.as_deref().is_none_or(|arch| arch == ARCH);
    let whole = |entry: Entry| Attack {
        name: entry.name,
        program: program(&prelude, &entry.code),
        seconds: entry.seconds.unwrap_or(SECONDS),
        memory_mib: entry.memory_mib.unwrap_or(MEMORY_MIB),
        leaves: entry.leaves,
    };
    Ok(attack.into_iter().filter(concerns).map(whole).collect())
}

fn program(prelude: &str, code: &str) -> String {
    format!("LEFT = '{LEFT}'\n{prelude}\n{code}")
}

/// Two programs that are no attack, by which a tool shows that it runs programs and that their words are heard.
pub(crate) fn controls() -> Result<[(Attack, Ended); 2]> {
    let prelude =
        fs::read_to_string(shell::root().join(FOLDER).join(PRELUDE)).context("failed to read the prelude")?;
    let control = |word: &str| Attack {
        name: format!("a control that is {word}"),
        program: program(&prelude, &format!("{word}('control')")),
        seconds: SECONDS,
        memory_mib: MEMORY_MIB,
        leaves: false,
    };
    Ok([
        (control("held"), Ended::Held("control".to_owned())),
        (control("through"), Ended::Through("control".to_owned())),
    ])
}

/// What the output says; `ended` is what is told of a program that began and said nothing more.
pub(crate) fn judge(output: &str, ended: &str) -> Ended {
    let line = |word: &str| output.lines().find_map(|line| line.strip_prefix(word)).map(str::to_owned);
    if let Some(answer) = line("through ") {
        return Ended::Through(answer);
    }
    match (line("held "), output.lines().any(|line| line.starts_with(BEGUN))) {
        (Some(answer), _) => Ended::Held(answer),
        (None, true) => Ended::Silent(ended.to_owned()),
        (None, false) => Ended::NotRun(ended.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_attacks_and_theirs_are_programs() {
        for class in CLASSES {
            let attacks = read(class).unwrap();
            assert!(attacks.len() >= 10, "{class}");
            assert!(
                attacks
                    .iter()
                    .all(|attack| attack.program.starts_with("LEFT = ") && attack.seconds <= SECONDS)
            );
        }
        assert!(read("lifetime").unwrap().iter().any(|attack| attack.leaves));
    }

    #[test]
    fn no_program_takes_a_word_of_the_prelude_for_a_name_of_its_own() {
        let prelude = fs::read_to_string(shell::root().join(FOLDER).join(PRELUDE)).unwrap();
        let functions = prelude.lines().filter_map(|line| line.strip_prefix("def "));
        let words: Vec<&str> = functions.filter_map(|line| line.split('(').next()).collect();
        assert!(words.contains(&"through") && words.contains(&"held"), "{words:?}");
        for attack in CLASSES.iter().flat_map(|class| read(class).unwrap()) {
            let own = attack.program.strip_prefix(&program(&prelude, "")).unwrap();
            let taken = words.iter().find(|word| {
                let given = [format!("{word} ="), format!("for {word} in"), format!("def {word}(")];
                own.lines().any(|line| given.iter().any(|begin| line.trim_start().starts_with(begin)))
            });
            assert_eq!(taken, None, "{}", attack.name);
        }
    }

    #[test]
    fn whoever_got_through_got_through_whatever_else_it_says() {
        assert_eq!(judge("x\nheld EPERM\n", "killed"), Ended::Held("EPERM".to_owned()));
        assert_eq!(judge("through 5\nheld EPERM\n", "killed"), Ended::Through("5".to_owned()));
        assert_eq!(judge("begun\n", "killed"), Ended::Silent("killed".to_owned()));
        assert_eq!(judge("", "no such file"), Ended::NotRun("no such file".to_owned()));
    }
}
