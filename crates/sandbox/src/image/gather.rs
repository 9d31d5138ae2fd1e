//! Fills a plan: from the file lists of selected packages, or from a walk through a prepared tree; and lays trees over it.

use std::collections::BTreeMap;
use std::mem;

use super::dpkg::Selection;
use super::error::ImageError;
use super::etc;
use super::overlay::Layer;
use super::package_files::{self, Alternative, Diversions};
use super::plan::{Item, Plan};
use super::rules::{self, Verdict};
use super::source::{BASE, Node, SourceTree, join};

/// Where the alternatives system keeps what is chosen.
const ALTERNATIVES: &str = "etc/alternatives";

/// Deepest directory of a prepared tree.
const MAX_DEPTH: usize = 128;

/// Everything that the selected packages hold, and what their installation scripts made beside it.
pub(super) fn packages(
    tree: &mut SourceTree,
    selection: &Selection<'_>,
    layers: &mut [Layer],
) -> Result<Plan, ImageError> {
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
    for alternative in package_files::alternatives(tree)? {
        for (_, link) in &alternative.links {
            if let Some(path) = tree.settle(link)?
                && matches!(tree.look(&path)?, Node::Link(_))
            {
                plan.add(tree, &path, &path)?;
            }
        }
        choose(&mut plan, tree, &alternative)?;
    }
    complete(plan, tree, layers)
}

/// Everything in a prepared tree that the rules let pass.
pub(super) fn directory(tree: &mut SourceTree, layers: &mut [Layer]) -> Result<Plan, ImageError> {
    let mut plan = Plan::default();
    walk(&mut plan, tree, ("", ""), 0)?;
    complete(plan, tree, layers)
}

/// Everything in a folder that the rules let pass at its place in the image.
pub(super) fn overlay(tree: &SourceTree, to: &str) -> Result<Plan, ImageError> {
    let mut plan = Plan::default();
    walk(&mut plan, tree, ("", to), 0)?;
    Ok(plan)
}

fn is_there(tree: &mut SourceTree, path: &str) -> Result<bool, ImageError> {
    let settled = tree.settle(path)?;
    settled.map_or(Ok(false), |path| Ok(tree.look(&path)? != Node::Missing))
}

/// Walks through a directory of a tree (the first of the two), which is the second of the two in the image.
fn walk(
    plan: &mut Plan,
    tree: &SourceTree,
    (source, place): (&str, &str),
    depth: usize,
) -> Result<(), ImageError> {
    if depth > MAX_DEPTH {
        plan.note(format!("`/{place}` is nested too deep: left out"));
        return Ok(());
    }
    let (names, unreadable) = tree.names(source)?;
    if unreadable > 0 {
        plan.note(format!("{unreadable} names in `/{place}` are no UTF-8: left out"));
    }
    for name in names {
        let (source, path) = (join(source, &name), join(place, &name));
        match rules::judge(&path) {
            Verdict::Keep => {
                let node = tree.look(&source)?;
                let is_directory = node == Node::Directory;
                plan.insert(tree, path.clone(), source.clone(), node)?;
                if is_directory {
                    walk(plan, tree, (&source, &path), depth + 1)?;
                }
            }
            Verdict::Drop if rules::may_hold_kept(&path) => walk(plan, tree, (&source, &path), depth + 1)?,
            Verdict::Drop => {}
            Verdict::DropAndSay(why) => plan.note(format!("`/{path}` {why}: left out")),
        }
    }
    Ok(())
}

/// What both ways have in common: files that no list names, links of the alternatives, and all that is generated.
fn complete(mut plan: Plan, tree: &mut SourceTree, layers: &mut [Layer]) -> Result<Plan, ImageError> {
    for (path, target) in tree.links_met().clone() {
        if plan.get(&path).is_none() && rules::judge(&path) == Verdict::Keep {
            plan.make(&path, Item::Link(target));
        }
    }
    for layer in layers {
        plan.lay_over(&layer.to, mem::take(&mut layer.plan))?;
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
        if let (Some(stem), Item::Copy { tree: BASE, .. }) = (path.strip_suffix(".py"), item) {
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

/// Chooses anew where the host's choice is not in the image and another candidate is.
fn choose(plan: &mut Plan, tree: &mut SourceTree, alternative: &Alternative) -> Result<(), ImageError> {
    let place = |name: &str| join(ALTERNATIVES, name);
    let is_planned = |plan: &Plan, tree: &mut SourceTree, path: &str| {
        tree.settle(path).map(|path| path.is_some_and(|path| plan.get(&path).is_some()))
    };
    let Some((master, _)) = alternative.links.first() else { return Ok(()) };
    if let Node::Link(target) = tree.look(&place(master))?
        && is_planned(plan, tree, &target)?
    {
        return Ok(());
    }
    for candidate in &alternative.candidates {
        if !candidate.first().map_or(Ok(false), |path| is_planned(plan, tree, path))? {
            continue;
        }
        for ((name, _), target) in alternative.links.iter().zip(candidate) {
            if !target.is_empty() {
                plan.make(&place(name), Item::Link(target.clone()));
            }
        }
        break;
    }
    Ok(())
}

/// Recreates the links of `/etc/alternatives`; those that lead to nothing in the image fall out at the end.
fn add_alternatives(plan: &mut Plan, tree: &SourceTree) -> Result<(), ImageError> {
    for name in tree.names(ALTERNATIVES)?.0 {
        let path = join(ALTERNATIVES, &name);
        if plan.get(&path).is_none()
            && let Node::Link(target) = tree.look(&path)?
        {
            plan.make(&path, Item::Link(target));
        }
    }
    Ok(())
}
