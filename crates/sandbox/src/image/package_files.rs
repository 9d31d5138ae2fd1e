//! Finds the files of installed packages: dpkg's lists, diversions and the alternatives system's links.
//!
//! Reads only. What a list names is a claim about the host; `plan` looks at what is really there.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::iter;

use super::dpkg::Package;
use super::error::ImageError;
use super::source::SourceTree;

/// The files that packages moved out of each other's way.
#[derive(Debug, Default)]
pub(super) struct Diversions {
    /// By original path: where the others' file went, and the package whose own file is at the original.
    moved: HashMap<String, (String, String)>,
}

impl Diversions {
    /// Reads `var/lib/dpkg/diversions`, which is three lines for each: from, to, by whom.
    pub(super) fn read(tree: &SourceTree) -> Result<Self, ImageError> {
        let text = read_text(tree, "var/lib/dpkg/diversions")?;
        let mut lines = text.lines();
        let mut moved = HashMap::new();
        while let (Some(from), Some(to), Some(by)) = (lines.next(), lines.next(), lines.next()) {
            moved.insert(relative(from).to_owned(), (relative(to).to_owned(), by.to_owned()));
        }
        Ok(Self { moved })
    }

    /// Where the file that `package` calls `path` lies on the host.
    ///
    /// In the image it gets its own name back unless the diverting package is there too, whose file has that name.
    pub(super) fn on_host<'a>(&'a self, package: &str, path: &'a str) -> &'a str {
        match self.moved.get(path) {
            Some((to, by)) if by != package => to,
            Some(_) | None => path,
        }
    }

    /// The name in the image of the file that `package` calls `path`.
    pub(super) fn in_image<'a>(
        &'a self,
        package: &str,
        path: &'a str,
        is_taken: impl Fn(&str) -> bool,
    ) -> &'a str {
        match self.moved.get(path) {
            Some((to, by)) if by != package && is_taken(by) => to,
            Some(_) | None => path,
        }
    }
}

/// Paths of a package's files and directories, below the root, as its list has them.
pub(super) fn list(tree: &SourceTree, package: &Package<'_>) -> Result<Vec<String>, ImageError> {
    let Package { name, architecture, .. } = package;
    // a package that may be installed for several architectures has its list under both names joined
    for path in
        [format!("var/lib/dpkg/info/{name}:{architecture}.list"), format!("var/lib/dpkg/info/{name}.list")]
    {
        match tree.read(&path) {
            Ok(content) => {
                let text = String::from_utf8_lossy(&content);
                return Ok(text
                    .lines()
                    .map(relative)
                    .filter(|path| !path.is_empty())
                    .map(str::to_owned)
                    .collect());
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(ImageError::ReadPackages { path, source }),
        }
    }
    let path = format!("var/lib/dpkg/info/{name}.list");
    Err(ImageError::ReadPackages { path, source: io::Error::from(ErrorKind::NotFound) })
}

/// One choice that the alternatives system keeps, such as which program is `awk`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Alternative {
    /// Names below `/etc/alternatives`, and the links that lead to them, below the root: the choice itself, and then
    /// what follows it.
    pub(super) links: Vec<(String, String)>,
    /// What can be chosen, the best first: where each of the links would lead, or nothing.
    pub(super) candidates: Vec<Vec<String>>,
}

/// Every choice of the alternatives system.
pub(super) fn alternatives(tree: &SourceTree) -> Result<Vec<Alternative>, ImageError> {
    const DATABASE: &str = "var/lib/dpkg/alternatives";
    let mut found = Vec::new();
    for name in tree.names(DATABASE)?.0 {
        let text = read_text(tree, &format!("{DATABASE}/{name}"))?;
        found.extend(parse_alternative(&name, &text));
    }
    Ok(found)
}

/// Parses one file of the database: how it is chosen, the link, pairs of (name, link) of what follows it, a blank
/// line; then for each candidate its path, its priority, and a path or a blank line for each follower.
pub(super) fn parse_alternative(name: &str, text: &str) -> Option<Alternative> {
    let mut lines = text.lines().skip(1);
    let mut links = vec![(name.to_owned(), relative(lines.next()?).to_owned())];
    while let Some(follower) = lines.next().filter(|line| !line.is_empty()) {
        links.push((follower.to_owned(), relative(lines.next()?).to_owned()));
    }
    let mut candidates = Vec::new();
    while let (Some(path), Some(priority)) = (lines.next().filter(|line| !line.is_empty()), lines.next()) {
        let followers = lines.by_ref().take(links.len() - 1);
        let paths = iter::once(path).chain(followers).map(str::to_owned).collect::<Vec<_>>();
        candidates.push((priority.parse::<i64>().ok()?, paths));
    }
    candidates.sort_by_key(|(priority, _)| Reverse(*priority));
    Some(Alternative { links, candidates: candidates.into_iter().map(|(_, paths)| paths).collect() })
}

fn read_text(tree: &SourceTree, path: &str) -> Result<String, ImageError> {
    match tree.read(path) {
        Ok(content) => Ok(String::from_utf8_lossy(&content).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(ImageError::ReadPackages { path: path.to_owned(), source }),
    }
}

/// A path of the database, below the root; the root's own `/.` becomes nothing.
fn relative(path: &str) -> &str {
    let path = path.trim_start_matches('/');
    if path == "." { "" } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alternatives_file_names_its_links_and_its_candidates_the_best_first() {
        let text = "auto\n/usr/bin/awk\nawk.1.gz\n/usr/share/man/man1/awk.1.gz\nnawk\n/usr/bin/nawk\n\n\
                    /usr/bin/mawk\n5\n/usr/share/man/man1/mawk.1.gz\n\n\
                    /usr/bin/gawk\n10\n/usr/share/man/man1/gawk.1.gz\n/usr/bin/gawk\n\n";
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let pair = |name: &str, link: &str| (name.to_owned(), link.to_owned());
        let wanted = Alternative {
            links: vec![
                pair("awk", "usr/bin/awk"),
                pair("awk.1.gz", "usr/share/man/man1/awk.1.gz"),
                pair("nawk", "usr/bin/nawk"),
            ],
            candidates: vec![
                owned(&["/usr/bin/gawk", "/usr/share/man/man1/gawk.1.gz", "/usr/bin/gawk"]),
                owned(&["/usr/bin/mawk", "/usr/share/man/man1/mawk.1.gz", ""]),
            ],
        };
        assert_eq!(parse_alternative("awk", text), Some(wanted));
        assert_eq!(parse_alternative("awk", "auto\n"), None);
    }

    #[test]
    fn a_diverted_file_is_read_where_it_lies_and_named_by_who_is_in_the_image() {
        let moved = [("bin/sh".to_owned(), ("bin/sh.distrib".to_owned(), "dash".to_owned()))];
        let diversions = Diversions { moved: moved.into() };
        assert_eq!(diversions.on_host("bash", "bin/sh"), "bin/sh.distrib");
        assert_eq!(diversions.on_host("dash", "bin/sh"), "bin/sh");
        assert_eq!(diversions.in_image("bash", "bin/sh", |_| true), "bin/sh.distrib");
        assert_eq!(diversions.in_image("bash", "bin/sh", |_| false), "bin/sh");
        assert_eq!(diversions.in_image("bash", "bin/ls", |_| true), "bin/ls");
    }
}
