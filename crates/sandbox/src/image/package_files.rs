//! Finds the files of installed packages: dpkg's lists, diversions and the alternatives system's links.
//!
//! Reads only. What a list names is a claim about the host; `plan` looks at what is really there.

use std::collections::HashMap;
use std::io::{self, ErrorKind};

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

/// Every place where the alternatives system may have put a link, below the root.
pub(super) fn alternative_links(tree: &SourceTree) -> Result<Vec<String>, ImageError> {
    const DATABASE: &str = "var/lib/dpkg/alternatives";
    let mut links = Vec::new();
    for name in tree.names(DATABASE)?.0 {
        let text = read_text(tree, &format!("{DATABASE}/{name}"))?;
        links.extend(links_of(&text).map(str::to_owned));
    }
    Ok(links)
}

/// The links of one alternative: the second line, then every second line of the (name, link) pairs up to a blank one.
fn links_of(text: &str) -> impl Iterator<Item = &str> {
    let head = text.lines().take_while(|line| !line.is_empty());
    head.skip(1).step_by(2).map(relative)
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
    fn an_alternatives_file_names_its_links_before_the_blank_line() {
        let text = "auto\n/usr/bin/awk\nawk.1.gz\n/usr/share/man/man1/awk.1.gz\nnawk\n/usr/bin/nawk\n\n/usr/bin/mawk\n5\n";
        let links: Vec<_> = links_of(text).collect();
        assert_eq!(links, ["usr/bin/awk", "usr/share/man/man1/awk.1.gz", "usr/bin/nawk"]);
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
