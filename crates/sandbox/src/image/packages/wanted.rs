//! What is to be added to an image, and the order in which it is had.

use std::env::consts::ARCH;
use std::fs;
use std::path::{self, Path, PathBuf};

use super::super::cache::{Cache, Scratch};
use super::super::recipe::{AddedPackage, Recipe};
use super::error::PackagesError;
use super::ground::Ground;
use super::spec::{DebianPackage, NodeMajor, NodePackage, PythonPackage, RPackage};
use super::{npm, pip, r};

/// Where packages of JavaScript go: at the top, so that both `require` and `import` find them from anywhere.
const NODE_MODULES: &str = "node_modules";

/// Where a Node of another version goes: before the distribution's on the search path.
const PROGRAMS: &str = "usr/local/bin";

/// Packages to add to an image.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Python packages.
    pub python: Vec<PythonPackage>,
    /// A file of pip that names Python packages.
    pub requirements: Option<PathBuf>,
    /// A folder of wheels, to take Python packages from nowhere else.
    pub wheels: Option<PathBuf>,
    /// Packages of npm's registry.
    pub node: Vec<NodePackage>,
    /// A folder of `.tgz` packages, all of which go in, to take packages from nowhere else.
    pub node_from: Option<PathBuf>,
    /// A release line of Node, instead of the base's.
    pub node_version: Option<NodeMajor>,
    /// R packages.
    pub r: Vec<RPackage>,
    /// A folder of installed R packages, all of which go in.
    pub r_library: Option<PathBuf>,
    /// Installed packages of the host.
    pub debian: Vec<DebianPackage>,
}

/// A recipe with its packages.
#[derive(Debug)]
pub struct Prepared {
    /// What to build from, while this lives.
    pub recipe: Recipe,
    /// Where the packages are.
    _scratch: Option<Scratch>,
}

impl Wanted {
    /// Fetches everything into a folder of the cache's file system that only this user can open, and that goes with
    /// the answer; `tell` is given a line before each step that takes long.
    ///
    /// # Errors
    /// Any [`PackagesError`]; nothing is left behind then.
    pub fn prepare(
        &self,
        cache: &Path,
        recipe: Recipe,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Prepared, PackagesError> {
        let mut recipe = self.with_debian(recipe)?;
        let scratch = if self.fetches() { Some(Cache::open_or_make(cache)?.scratch()?) } else { None };
        if let Some(scratch) = &scratch {
            recipe = self.with_python(recipe, scratch.path(), tell)?;
            recipe = self.with_node(recipe, scratch.path(), tell)?;
        }
        if let Some(library) = &self.r_library {
            recipe = r::lay_library(recipe, &given(library)?, &self.r)?;
        }
        self.name_r_of_debian(&mut recipe);
        Ok(Prepared { recipe, _scratch: scratch })
    }

    /// Whether anything is to be unpacked.
    fn fetches(&self) -> bool {
        self.takes_python() || self.takes_node() || self.node_version.is_some()
    }

    fn takes_python(&self) -> bool {
        !self.python.is_empty() || self.requirements.is_some()
    }

    fn takes_node(&self) -> bool {
        let others = |folder: &PathBuf| self.node_version.is_none() || npm::has_packages(folder);
        !self.node.is_empty() || self.node_from.as_ref().is_some_and(others)
    }

    /// Debian's packages, R's among them.
    fn with_debian(&self, mut recipe: Recipe) -> Result<Recipe, PackagesError> {
        let mut names = Vec::new();
        let mut ground = Ground::of(&recipe)?;
        for package in &self.debian {
            if !ground.is_of_packages() {
                return Err(PackagesError::PackagesInTree);
            }
            if !ground.has_debian(package.name()) {
                return Err(PackagesError::NoDebianPackage { name: package.name().to_owned() });
            }
            names.push(package.name().to_owned());
        }
        if (!self.r.is_empty() || self.r_library.is_some()) && !ground.has_r()? {
            return Err(PackagesError::NoR);
        }
        names.extend(r::debian_packages(&mut ground, &self.r, self.r_library.as_deref())?);
        for name in &names {
            recipe = recipe.with_package(name);
        }
        Ok(recipe)
    }

    /// Records the R packages that were asked for and are in no folder.
    fn name_r_of_debian(&self, recipe: &mut Recipe) {
        for package in &self.r {
            let name = package.name();
            if !recipe.added.iter().any(|added| added.language == "r" && added.name == name) {
                let (language, name) = ("r".to_owned(), name.to_owned());
                recipe.added.push(AddedPackage { language, name, version: None, asked: true });
            }
        }
    }

    fn with_python(
        &self,
        recipe: Recipe,
        scratch: &Path,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Recipe, PackagesError> {
        if !self.takes_python() {
            return Ok(recipe);
        }
        let mut ground = Ground::of(&recipe)?;
        let (python, libc_minor) = (ground.python()?, ground.libc_minor(ARCH)?);
        let (requirements, wheels) = (optional(self.requirements.as_ref())?, optional(self.wheels.as_ref())?);
        tell(&format!("fetching Python packages: {}", named(&self.python, requirements.as_deref())));
        let asked = pip::Asked {
            packages: &self.python,
            requirements: requirements.as_deref(),
            wheels: wheels.as_deref(),
        };
        let (folder, added) = pip::fetch(scratch, &asked, &python, libc_minor)?;
        let mut recipe = recipe.with_overlay(folder, &python.packages);
        recipe.added.extend(added);
        Ok(recipe)
    }

    fn with_node(
        &self,
        mut recipe: Recipe,
        scratch: &Path,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Recipe, PackagesError> {
        let from = optional(self.node_from.as_ref())?;
        if let Some(line) = self.node_version {
            tell(&format!("fetching Node {}", line.number()));
            let (folder, added) = npm::fetch_node(scratch, line, from.as_deref())?;
            recipe = recipe.without_package("nodejs").with_overlay(folder, PROGRAMS);
            recipe.added.push(added);
        }
        if self.takes_node() {
            tell(&format!("fetching packages of JavaScript: {}", named(&self.node, from.as_deref())));
            let (folder, added) = npm::fetch(scratch, &self.node, from.as_deref())?;
            recipe = recipe.with_overlay(folder, NODE_MODULES);
            recipe.added.extend(added);
        }
        Ok(recipe)
    }
}

/// A path of the command line by its whole name, if something readable is there.
fn given(path: &Path) -> Result<PathBuf, PackagesError> {
    let unread = |source| PackagesError::Given { path: path.to_owned(), source };
    let whole = path::absolute(path).map_err(unread)?;
    fs::File::open(&whole).map_err(unread)?;
    Ok(whole)
}

fn optional(path: Option<&PathBuf>) -> Result<Option<PathBuf>, PackagesError> {
    path.map(|path| given(path)).transpose()
}

/// Packages in a line for people.
fn named(packages: &[impl ToString], place: Option<&Path>) -> String {
    let mut names: Vec<String> = packages.iter().map(ToString::to_string).collect();
    names.extend(place.map(|place| format!("`{}`", place.display())));
    names.join(", ")
}
