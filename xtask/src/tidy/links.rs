//! Links between the project's own pages lead somewhere.

use crate::tidy::file::SourceFile;
use crate::tidy::finding::Finding;
use crate::tidy::tree::Tree;

/// Every relative link of a Markdown file names a file or folder of the project.
pub(crate) fn dead(tree: &Tree) -> Vec<Finding> {
    tree.files.iter().filter(|file| file.path.ends_with(".md")).flat_map(|file| dead_in(tree, file)).collect()
}

fn dead_in(tree: &Tree, file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in prose_lines(&file.text) {
        for target in targets(&line) {
            let leads = resolve(&file.path, target).is_some_and(|path| tree.holds(&path));
            if !leads {
                let message = format!("`{target}` is not a file of the project");
                findings.push(Finding::error(&file.path, number, "dead-link", message));
            }
        }
    }
    findings
}

/// The lines outside fenced code, numbered from 1, without their code spans.
fn prose_lines(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut in_fence = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_fence ^= is_fence;
        let is_prose = !is_fence && !in_fence;
        is_prose.then(|| (at + 1, line.split('`').step_by(2).collect::<Vec<_>>().join("`")))
    })
}

/// What a line links to inside the project, without anchors: `[text](target)` and `[label]: target`.
fn targets(line: &str) -> Vec<&str> {
    let inline = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let label = line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]: "));
    let definition = label.and_then(|(_, rest)| rest.split_whitespace().next());
    inline
        .chain(definition)
        .map(|target| target.trim_matches(['<', '>']))
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        .filter_map(|target| target.split('#').next())
        .filter(|path| !path.is_empty())
        .collect()
}

/// The path of a link's target from the root; `None` where it leaves the project.
fn resolve(page: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop()?;
            }
            "" => return None,
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> usize {
        dead(&Tree::of(&[("docs/a.md", text), ("README.md", ""), ("docs/img/b.png", "")])).len()
    }

    #[test]
    fn dead_links_are_caught() {
        for text in ["[a](b.md)", "[a](../x.md#y)", "[a](../../README.md)", "[a](/README.md)", "[a]: gone.md"]
        {
            assert_eq!(count(text), 1, "{text}");
        }
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        let text = "[a](a.md) ![b](img/b.png \"B\") [c](../README.md#top) [d](img/) [e](#here) [f](..)\n\
                    [g](https://example.com/x) <mailto:a@example.com> [h](mailto:a@example.com)\n\
                    [i]: ./a.md\n`[j](gone.md)`\n```\n[k](gone.md)\n```\n";
        assert_eq!(count(text), 0);
    }
}
