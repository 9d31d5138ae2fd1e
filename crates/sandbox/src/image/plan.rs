//! The list of what an image will hold, before a byte is copied.
//!
//! Holds canonical paths only, so that nothing is ever written through a link. Must never touch the disk except to
//! look at the source tree.

use std::collections::{BTreeMap, VecDeque};

use super::error::ImageError;
use super::manifest::Notes;
use super::rules::{self, Verdict};
use super::source::{Node, SourceTree, join, parts};

/// Most entries of an image: ten times a full scientific Python with R and Node.
pub(super) const MAX_ENTRIES: usize = 1_000_000;

/// Most links on the way to one path, as in the kernel.
const MAX_LINKS: u32 = 40;

/// Places that the jail fills, so that a link into them is not a link to nothing.
const FILLED_BY_THE_JAIL: &[&str] = &["dev", "proc"];

/// What will be made at one path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A directory.
    Directory,
    /// A copy of a file of the source tree.
    Copy {
        /// The number of that tree.
        tree: usize,
        /// Its canonical path there.
        from: String,
        /// Its length in bytes when it was looked at.
        size: u64,
    },
    /// A file that is made here.
    Made(Vec<u8>),
    /// A symbolic link with this target.
    Link(String),
}

/// Bytes of content that items hold.
pub(super) fn bytes_of(items: &BTreeMap<String, Item>) -> u64 {
    let size = |item: &Item| match item {
        Item::Copy { size, .. } => *size,
        Item::Made(content) => u64::try_from(content.len()).unwrap_or(u64::MAX),
        Item::Directory | Item::Link(_) => 0,
    };
    items.values().map(size).fold(0, u64::saturating_add)
}

/// Where a link leads inside the image.
#[derive(Debug, PartialEq, Eq)]
enum Lead {
    /// To an entry, or into a place that the jail fills.
    Somewhere,
    /// To nothing.
    Nowhere,
    /// Above the root.
    Out,
}

/// Everything that an image will hold.
#[derive(Debug, Default)]
pub(super) struct Plan {
    items: BTreeMap<String, Item>,
    notes: Notes,
    /// How many listed files were not there, and one of them.
    missing: (usize, Option<String>),
}

impl Plan {
    /// Every item, parents before children.
    pub(super) fn items(&self) -> &BTreeMap<String, Item> {
        &self.items
    }

    /// What lies at a path.
    pub(super) fn get(&self, path: &str) -> Option<&Item> {
        self.items.get(path)
    }

    /// Adds a line for the manifest.
    pub(super) fn note(&mut self, line: String) {
        self.notes.add(line);
    }

    /// Gives the items and the notes away.
    pub(super) fn into_parts(mut self) -> (BTreeMap<String, Item>, Notes) {
        if let (count @ 1.., Some(example)) = &self.missing {
            self.notes.add(format!("{count} listed files are not on the host, such as `/{example}`"));
        }
        (self.items, self.notes)
    }

    /// Adds what lies at `on_host` in the tree as `in_image`, if the rules let it pass; both may lead through links.
    pub(super) fn add(
        &mut self,
        tree: &mut SourceTree,
        on_host: &str,
        in_image: &str,
    ) -> Result<(), ImageError> {
        let (Some(source), Some(path)) = (tree.settle(on_host)?, tree.settle(in_image)?) else {
            self.miss(on_host);
            return Ok(());
        };
        if self.items.contains_key(&path) || !self.passes(rules::judge(&path), &path) {
            return Ok(());
        }
        let node = tree.look(&source)?;
        if node == Node::Missing {
            self.miss(on_host);
        }
        self.insert(tree, path, source, node)
    }

    /// Adds a node that was looked at; `path` is canonical and the rules let it pass.
    pub(super) fn insert(
        &mut self,
        tree: &SourceTree,
        path: String,
        source: String,
        node: Node,
    ) -> Result<(), ImageError> {
        let item = match node {
            Node::Directory => Item::Directory,
            Node::Link(target) => {
                if !self.passes(rules::judge_link(&path, &target), &path) {
                    return Ok(());
                }
                Item::Link(target)
            }
            Node::File { size } => {
                if !self.passes(rules::judge_file_name(&path), &path)
                    || self.is_start_up_code(tree, &path, &source)?
                {
                    return Ok(());
                }
                Item::Copy { tree: tree.number(), from: source, size }
            }
            Node::Other => {
                self.note(format!(
                    "`/{path}` is a device, socket or FIFO, or a link with a strange target: left out"
                ));
                return Ok(());
            }
            Node::Missing => return Ok(()),
        };
        if self.items.len() >= MAX_ENTRIES {
            return Err(ImageError::TooManyEntries { limit: MAX_ENTRIES });
        }
        self.items.insert(path, item);
        Ok(())
    }

    /// Lays another plan over this one: its files and links take the place of what has the same name.
    pub(super) fn lay_over(&mut self, to: &str, layer: Self) -> Result<(), ImageError> {
        let ancestors = to.match_indices('/').map(|(end, _)| to.split_at(end).0).chain([to]);
        for ancestor in ancestors {
            if !matches!(self.items.get(ancestor), None | Some(Item::Directory)) {
                return Err(ImageError::OverlayPlace { to: to.to_owned() });
            }
        }
        let (items, notes) = layer.into_parts();
        notes.into_lines().into_iter().for_each(|line| self.note(line));
        for (path, item) in items {
            let stands = self.items.get(&path).map(|stands| *stands == Item::Directory);
            match stands {
                Some(is_directory) if is_directory != (item == Item::Directory) => {
                    self.note(format!(
                        "`/{path}` is a directory in one tree and none in the other: left out"
                    ));
                }
                Some(true) => {}
                Some(false) | None => drop(self.items.insert(path, item)),
            }
        }
        if self.items.len() > MAX_ENTRIES {
            return Err(ImageError::TooManyEntries { limit: MAX_ENTRIES });
        }
        Ok(())
    }

    /// Puts a generated item in place, whatever was there.
    pub(super) fn make(&mut self, path: &str, item: Item) {
        self.items.insert(path.to_owned(), item);
    }

    /// Adds parents that nobody listed, and drops what cannot stand: children of links, links to nothing or out.
    pub(super) fn finish(&mut self) {
        let mut parents = Vec::new();
        let mut stranded = Vec::new();
        for path in self.items.keys() {
            let ancestors = path.match_indices('/').map(|(end, _)| path.split_at(end).0);
            for ancestor in ancestors {
                match self.items.get(ancestor) {
                    Some(Item::Directory) => {}
                    None => parents.push(ancestor.to_owned()),
                    Some(Item::Copy { .. } | Item::Made(_) | Item::Link(_)) => stranded.push(path.clone()),
                }
            }
        }
        self.items.extend(parents.into_iter().map(|path| (path, Item::Directory)));
        for path in stranded {
            if self.items.remove(&path).is_some() {
                self.note(format!(
                    "`/{path}` lies below something that is no directory in the image: left out"
                ));
            }
        }
        self.drop_lost_links();
    }

    fn drop_lost_links(&mut self) {
        let links = self.items.iter().filter(|(_, item)| matches!(item, Item::Link(_)));
        let lost: Vec<(String, Lead)> = links
            .map(|(path, _)| (path.clone(), self.lead(path)))
            .filter(|(_, lead)| *lead != Lead::Somewhere)
            .collect();
        let mut nowhere = 0_usize;
        for (path, lead) in lost {
            let was = self.items.remove(&path);
            // links of the alternatives are offered for every package of the host, so most of them must fall out
            let offered = path.starts_with("etc/alternatives/")
                || matches!(was, Some(Item::Link(target)) if target.starts_with("/etc/alternatives/"));
            if lead == Lead::Out {
                self.note(format!("`/{path}` is a link that climbs out of the root: left out"));
            } else if !offered {
                nowhere += 1;
            }
        }
        if nowhere > 0 {
            self.note(format!("{nowhere} links led to nothing in the image: left out"));
        }
    }

    /// Follows a path inside the image to its end.
    fn lead(&self, path: &str) -> Lead {
        let mut left: VecDeque<&str> = parts(path).collect();
        let mut at = String::new();
        let mut links = 0;
        while let Some(part) = left.pop_front() {
            if part == ".." {
                if at.is_empty() {
                    return Lead::Out;
                }
                at.truncate(at.rfind('/').unwrap_or(0));
                continue;
            }
            at = join(&at, part);
            match self.items.get(&at) {
                Some(Item::Link(target)) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Lead::Nowhere;
                    }
                    at.truncate(if target.starts_with('/') { 0 } else { at.rfind('/').unwrap_or(0) });
                    parts(target).rev().for_each(|part| left.push_front(part));
                }
                Some(Item::Directory | Item::Copy { .. } | Item::Made(_)) => {}
                None => {
                    let top = at.split('/').next().unwrap_or_default();
                    return if FILLED_BY_THE_JAIL.contains(&top) { Lead::Somewhere } else { Lead::Nowhere };
                }
            }
        }
        Lead::Somewhere
    }

    fn passes(&mut self, verdict: Verdict, path: &str) -> bool {
        match verdict {
            Verdict::Keep => true,
            Verdict::Drop => false,
            Verdict::DropAndSay(why) => {
                self.note(format!("`/{path}` {why}: left out"));
                false
            }
        }
    }

    fn is_start_up_code(&mut self, tree: &SourceTree, path: &str, source: &str) -> Result<bool, ImageError> {
        if !rules::is_path_file(path) {
            return Ok(false);
        }
        let content =
            tree.read(source).map_err(|source| ImageError::ReadSource { path: path.to_owned(), source })?;
        let runs = rules::runs_code(&content);
        if runs {
            self.note(format!("`/{path}` runs code at every start of Python: left out"));
        }
        Ok(runs)
    }

    fn miss(&mut self, path: &str) {
        if rules::judge(path) == Verdict::Keep {
            self.missing.0 += 1;
            self.missing.1.get_or_insert_with(|| path.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(target: &str) -> Item {
        Item::Link(target.to_owned())
    }

    #[test]
    fn links_that_climb_out_or_lead_to_nothing_stay_out() {
        let mut plan = Plan::default();
        plan.make("usr/bin/bash", Item::Made(Vec::new()));
        plan.make("bin", link("usr/bin"));
        plan.make("usr/bin/sh", link("/bin/bash"));
        plan.make("usr/bin/twice", link("./../bin/sh"));
        plan.make("usr/bin/out", link("../../../etc/passwd"));
        plan.make("usr/bin/gone", link("/home/somebody/program"));
        plan.make("usr/bin/loop", link("loop"));
        plan.make("usr/bin/mounts", link("/proc/self/mounts"));
        plan.finish();
        let (items, notes) = plan.into_parts();
        let left: Vec<_> = items.keys().map(String::as_str).collect();
        assert_eq!(
            left,
            ["bin", "usr", "usr/bin", "usr/bin/bash", "usr/bin/mounts", "usr/bin/sh", "usr/bin/twice"]
        );
        assert_eq!(
            notes.into_lines(),
            [
                "`/usr/bin/out` is a link that climbs out of the root: left out",
                "2 links led to nothing in the image: left out"
            ]
        );
    }

    #[test]
    fn nothing_is_planned_below_a_link() {
        let mut plan = Plan::default();
        plan.make("opt", link("usr"));
        plan.make("opt/file", Item::Made(Vec::new()));
        plan.make("usr", Item::Directory);
        plan.finish();
        assert_eq!(plan.get("opt/file"), None);
        assert_eq!(plan.get("opt"), Some(&link("usr")));
    }
}
