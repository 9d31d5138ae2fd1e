//! Fills a plan: from the file lists of selected packages, or from a walk through a prepared tree.

use std::collections::BTreeMap;

use super::dpkg::Selection;
use super::error::ImageError;
use super::etc;
use super::package_files::{self, Diversions};
use super::plan::{Item, Plan};
use super::rules::{self, Verdict};
use super::source::{Node, SourceTree, join};

/// Deepest directory of a prepared tree.
const MAX_DEPTH: usize = 128;

/// Everything that the selected packages hold, and what their installation scripts made beside it.
pub(super) fn packages(tree: &mut SourceTree, selection: &Selection<'_>) -> Result<Plan, ImageError> {
    let mut plan = Plan::default();
    let diversions = Diversions::read(tree)?;
    let is_taken = |name: &str| selection.packages.contains_key(name);
    for (name, package) in &selection.packages {
        for path in package_files::list(tree, package)? {
            let in_image = diversions.in_image(name, &path, is_taken);
            let diverted = diversions.on_host(name, &path);
            // a diversion may be registered for a file that never came to be
            let on_host = if is_there(tree, diverted)? { diverted } else { &path };
            plan.add(tree, on_host, in_image)?;
        }
    }
    for link in package_files::alternative_links(tree)? {
        if let Some(path) = tree.settle(&link)?
            && matches!(tree.look(&path)?, Node::Link(_))
        {
            plan.add(tree, &path, &path)?;
        }
    }
    complete(plan, tree)
}

/// Everything in a prepared tree that the rules let pass.
pub(super) fn directory(tree: &mut SourceTree) -> Result<Plan, ImageError> {
    let mut plan = Plan::default();
    walk(&mut plan, tree, "", 0)?;
    complete(plan, tree)
}

fn is_there(tree: &mut SourceTree, path: &str) -> Result<bool, ImageError> {
    let settled = tree.settle(path)?;
    settled.map_or(Ok(false), |path| Ok(tree.look(&path)? != Node::Missing))
}

fn walk(plan: &mut Plan, tree: &SourceTree, directory: &str, depth: usize) -> Result<(), ImageError> {
    if depth > MAX_DEPTH {
        plan.note(format!("`/{directory}` is nested too deep: left out"));
        return Ok(());
    }
    let (names, unreadable) = tree.names(directory)?;
    if unreadable > 0 {
        plan.note(format!("{unreadable} names in `/{directory}` are no UTF-8: left out"));
    }
    for name in names {
        let path = join(directory, &name);
        match rules::judge(&path) {
            Verdict::Keep => {
                let node = tree.look(&path)?;
                let is_directory = node == Node::Directory;
                plan.insert(tree, path.clone(), path.clone(), node)?;
                if is_directory {
                    walk(plan, tree, &path, depth + 1)?;
                }
            }
            Verdict::Drop if rules::may_hold_kept(&path) => walk(plan, tree, &path, depth + 1)?,
            Verdict::Drop => {}
            Verdict::DropAndSay(why) => plan.note(format!("`/{path}` {why}: left out")),
        }
    }
    Ok(())
}

/// What both ways have in common: files that no list names, links of the alternatives, and all that is generated.
fn complete(mut plan: Plan, tree: &mut SourceTree) -> Result<Plan, ImageError> {
    for (path, target) in tree.links_met().clone() {
        if plan.get(&path).is_none() && rules::judge(&path) == Verdict::Keep {
            plan.make(&path, Item::Link(target));
        }
    }
    add_compiled_python(&mut plan, tree)?;
    add_gconv_caches(&mut plan, tree)?;
    add_alternatives(&mut plan, tree)?;
    etc::generate(&mut plan, tree)?;
    plan.finish();
    Ok(plan)
}

/// Adds the compiled form of every Python file in the plan: Debian makes them at installation, so no list has them.
fn add_compiled_python(plan: &mut Plan, tree: &mut SourceTree) -> Result<(), ImageError> {
    let mut modules: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, item) in plan.items() {
        // only beside a source that is copied: what was compiled from the host's own settings must not come along
        if let (Some(stem), Item::Copy { .. }) = (path.strip_suffix(".py"), item) {
            let (directory, name) = stem.rsplit_once('/').unwrap_or(("", stem));
            modules.entry(directory.to_owned()).or_default().push(name.to_owned());
        }
    }
    for (directory, modules) in modules {
        let compiled = join(&directory, "__pycache__");
        for name in tree.names(&compiled)?.0 {
            let module = name.strip_suffix(".pyc").and_then(|name| name.split_once(".cpython-"));
            if module.is_some_and(|(module, _)| {
                modules.binary_search_by(|known| known.as_str().cmp(module)).is_ok()
            }) {
                let path = join(&compiled, &name);
                plan.add(tree, &path, &path)?;
            }
        }
    }
    Ok(())
}

/// Adds the index of character set converters, without which every `iconv` parses a long text.
fn add_gconv_caches(plan: &mut Plan, tree: &mut SourceTree) -> Result<(), ImageError> {
    let converters = plan.items().keys().filter(|path| path.ends_with("/gconv/gconv-modules"));
    let caches: Vec<String> = converters.map(|path| format!("{path}.cache")).collect();
    for path in caches {
        if is_there(tree, &path)? {
            plan.add(tree, &path, &path)?;
        }
    }
    Ok(())
}

/// Recreates the links of `/etc/alternatives`; those that lead to nothing in the image fall out at the end.
fn add_alternatives(plan: &mut Plan, tree: &SourceTree) -> Result<(), ImageError> {
    const DIRECTORY: &str = "etc/alternatives";
    for name in tree.names(DIRECTORY)?.0 {
        let path = join(DIRECTORY, &name);
        if let Node::Link(target) = tree.look(&path)? {
            plan.make(&path, Item::Link(target));
        }
    }
    Ok(())
}
