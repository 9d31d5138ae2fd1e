//! R packages: those that Debian has, by their Debian names, and folders of installed packages.
//!
//! Nothing is fetched: R's own archive has sources, and making a package of them runs its code.

use std::fs;
use std::path::Path;

use super::super::recipe::{AddedPackage, Recipe};
use super::error::PackagesError;
use super::ground::Ground;
use super::spec::RPackage;

/// Where R looks for packages of the operator, in the image.
pub(super) const LIBRARY: &str = "usr/local/lib/R/site-library";

/// Names of the Debian packages that hold these R packages; those of the base's own R and of a folder need none.
pub(super) fn debian_packages(
    ground: &mut Ground<'_>,
    packages: &[RPackage],
    library: Option<&Path>,
) -> Result<Vec<String>, PackagesError> {
    let mut found = Vec::new();
    for package in packages {
        let names = package.debian_names();
        let in_folder =
            library.is_some_and(|folder| folder.join(package.name()).join("DESCRIPTION").is_file());
        if in_folder || ground.has_r_package(package.name())? {
            continue;
        }
        let installed = names.iter().find(|name| ground.is_of_packages() && ground.has_debian(name));
        match (installed, library) {
            (Some(name), _) => found.push(name.clone()),
            (None, Some(folder)) => {
                let (name, folder) = (package.name().to_owned(), folder.to_owned());
                return Err(PackagesError::NotInFolder { name, folder });
            }
            (None, None) => {
                let [debian, _] = names;
                return Err(PackagesError::NoRPackage { name: package.name().to_owned(), debian });
            }
        }
    }
    Ok(found)
}

/// Lays a folder of installed packages over a recipe.
pub(super) fn lay_library(
    recipe: Recipe,
    folder: &Path,
    asked: &[RPackage],
) -> Result<Recipe, PackagesError> {
    let unread = |source| PackagesError::Given { path: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(unread)? {
        let entry = entry.map_err(unread)?;
        if entry.path().join("DESCRIPTION").is_file() {
            names.extend(entry.file_name().into_string());
        }
    }
    names.sort_unstable();
    let mut recipe = recipe.with_overlay(folder, LIBRARY);
    recipe.added.extend(names.into_iter().map(|name| AddedPackage {
        language: "r".to_owned(),
        version: version(&folder.join(&name)),
        asked: asked.iter().any(|package| package.name() == name),
        name,
    }));
    Ok(recipe)
}

/// The version that an installed package's description says.
fn version(package: &Path) -> Option<String> {
    let description = fs::read_to_string(package.join("DESCRIPTION")).ok()?;
    let version = description.lines().find_map(|line| line.strip_prefix("Version:"))?;
    Some(version.trim().to_owned())
}
