//! Makes an image: reads the input, plans, copies, and publishes.
//!
//! Starts no process and executes nothing of what it copies; `packages` is where programs are started.

use std::fs;
use std::io::ErrorKind;
use std::iter;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::cache::{Building, Cache, Replace};
use super::copy;
use super::dpkg::{Database, STATUS_PATH};
use super::error::ImageError;
use super::gather;
use super::handle::{Image, Origin};
use super::manifest::{MANIFEST_VERSION, Manifest, PackageRecord, digest_of};
use super::overlay::{self, Layer, OverlayRecord};
use super::plan::{Plan, bytes_of};
use super::recipe::{Base, PackageRecipe, Recipe, directory_key, overlaid_key, package_key};
use super::source::SourceTree;
use super::summary;
use super::verify::Reads;

/// Free space that a build leaves on the cache's file system.
const RESERVE_BYTES: u64 = 64 << 20;

/// What a file system may need for an entry beyond its content: an inode, a name and the rest of its last block.
const ENTRY_OVERHEAD_BYTES: u64 = 4 << 10;

/// How far a build is; given after every file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Files written so far.
    pub files_done: usize,
    /// Files to write in all.
    pub files_total: usize,
    /// Bytes of content written so far.
    pub bytes_done: u64,
    /// Bytes of content to write in all, as far as the source told beforehand.
    pub bytes_total: u64,
    /// The file just written, below the image's root.
    pub current: &'a str,
}

/// What a plan is made from, and what the manifest says about it.
struct Gathered {
    plan: Plan,
    packages: Vec<PackageRecord>,
    absent: Vec<String>,
}

/// The input key of a recipe: the same key means the same image, found without a look at the base's files.
pub(super) fn key(recipe: &Recipe) -> Result<String, ImageError> {
    let overlays = overlay::records(&Layer::all(&recipe.overlays)?)?;
    Ok(overlaid_key(base_key(&recipe.base)?, &overlays))
}

fn base_key(base: &Base) -> Result<String, ImageError> {
    match base {
        Base::Packages(recipe) => {
            let status = read_status(&SourceTree::open(&recipe.root)?, recipe)?;
            Ok(package_key(recipe, &Database::parse(&status).select(&recipe.wanted, &recipe.left_out)))
        }
        Base::FromDir(path) => {
            refuse_host_root(path)?;
            directory_key(path)
        }
    }
}

/// Makes the image of a recipe and puts it in the cache.
pub(super) fn build(
    cache: &Cache,
    building: &Building<'_>,
    recipe: &Recipe,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<String, ImageError> {
    let base_before = base_key(&recipe.base)?;
    let mut tree = SourceTree::open(recipe.base.root())?;
    let mut layers = Layer::all(&recipe.overlays)?;
    let overlays = overlay::records(&layers)?;
    let Gathered { plan, packages, absent } = gather(&mut tree, &recipe.base, &mut layers)?;
    refuse_full_disk(cache.path(), &plan)?;
    let draft = building.draft()?;
    let (items, mut notes) = plan.into_parts();
    let trees: Vec<&SourceTree> = iter::once(&tree).chain(layers.iter().map(|layer| &layer.tree)).collect();
    let entries = copy::write(&trees, &items, &draft.root(), &mut notes, progress)?;
    refuse_change(recipe, &base_before, &overlays)?;
    let digest = digest_of(&entries);
    let manifest = Manifest {
        version: MANIFEST_VERSION,
        digest: digest.clone(),
        base: recipe.base.clone(),
        interpreters: summary::interpreters(&entries, &packages, &recipe.added),
        packages,
        absent,
        notes: notes.into_lines(),
        entries,
        added: recipe.added.clone(),
        overlays,
    };
    let content = serde_json::to_vec(&manifest).map_err(|error| ImageError::WriteManifest(error.into()))?;
    draft.write_manifest(&content).map_err(ImageError::WriteManifest)?;
    let replace = judge_standing(cache, &digest);
    building.publish(draft, &digest, replace)?;
    building.remember(&overlaid_key(base_before, &manifest.overlays), &digest)?;
    Ok(digest)
}

/// Packages may have been upgraded while we copied, and then the tree is neither the old state nor the new one.
fn refuse_change(recipe: &Recipe, base: &str, overlays: &[OverlayRecord]) -> Result<(), ImageError> {
    if base_key(&recipe.base)? != base {
        return Err(ImageError::Changed { path: STATUS_PATH.to_owned() });
    }
    let after = overlay::records(&Layer::all(&recipe.overlays)?)?;
    let differing = after.into_iter().zip(overlays).find(|(after, before)| after != *before);
    differing.map_or(Ok(()), |(after, _)| Err(ImageError::Changed { path: after.to }))
}

fn gather(tree: &mut SourceTree, base: &Base, layers: &mut [Layer]) -> Result<Gathered, ImageError> {
    match base {
        Base::Packages(recipe) => {
            let status = read_status(tree, recipe)?;
            let selection = Database::parse(&status).select(&recipe.wanted, &recipe.left_out);
            if selection.packages.is_empty() {
                return Err(ImageError::NothingInstalled { root: recipe.root.clone() });
            }
            let plan = gather::packages(tree, &selection, layers)?;
            let packages = selection.packages.values().map(|package| package.record()).collect();
            Ok(Gathered { plan, packages, absent: selection.absent })
        }
        Base::FromDir(_) => {
            let status = match tree.read(STATUS_PATH) {
                Ok(content) => String::from_utf8_lossy(&content).into_owned(),
                // most prepared trees are of another kind of distribution
                Err(_) => String::new(),
            };
            let packages = Database::parse(&status).records();
            Ok(Gathered { plan: gather::directory(tree, layers)?, packages, absent: Vec::new() })
        }
    }
}

fn read_status(tree: &SourceTree, recipe: &PackageRecipe) -> Result<String, ImageError> {
    match tree.read(STATUS_PATH) {
        Ok(content) => Ok(String::from_utf8_lossy(&content).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(ImageError::NoPackageDatabase { root: recipe.root.clone() })
        }
        Err(source) => Err(ImageError::ReadPackages { path: STATUS_PATH.to_owned(), source }),
    }
}

fn refuse_host_root(path: &Path) -> Result<(), ImageError> {
    let opened = |source| ImageError::OpenTree { path: path.to_owned(), source };
    let (host, tree) = (fs::metadata("/").map_err(opened)?, fs::metadata(path).map_err(opened)?);
    if (host.dev(), host.ino()) == (tree.dev(), tree.ino()) {
        return Err(ImageError::HostRoot);
    }
    Ok(())
}

fn refuse_full_disk(cache: &Path, plan: &Plan) -> Result<(), ImageError> {
    let failed =
        |errno: rustix::io::Errno| ImageError::OpenCache { path: cache.to_owned(), source: errno.into() };
    let found = rustix::fs::statvfs(cache).map_err(failed)?;
    let available = found.f_bavail.saturating_mul(found.f_frsize);
    let entries = u64::try_from(plan.items().len()).unwrap_or(u64::MAX);
    let overhead = entries.saturating_mul(ENTRY_OVERHEAD_BYTES).saturating_add(RESERVE_BYTES);
    let needed = bytes_of(plan.items()).saturating_add(overhead);
    if needed > available {
        return Err(ImageError::NoRoom { needed, available, cache: cache.to_owned() });
    }
    Ok(())
}

/// Whether an image of this digest that is there already may stay.
fn judge_standing(cache: &Cache, digest: &str) -> Replace {
    let standing = Image::at(cache, digest, Origin::Found).and_then(|image| image.verify(Reads::Cached));
    match standing {
        Ok(found) if found.is_intact() => Replace::No,
        Ok(_) | Err(_) => Replace::Yes,
    }
}
