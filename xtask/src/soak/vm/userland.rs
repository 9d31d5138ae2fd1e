//! A Debian to boot: the interpreters and what the tests call, filled by `mmdebstrap`, with the image of the jails
//! built by the machine that makes it, which is some thirty times as fast as the one that it is for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::boot::ROOT_MARK;
use super::machine::Release;
use super::{disk, kernel};
use crate::shell;

/// What is installed beside the essential packages.
const PACKAGES: [&str; 12] = [
    "python3",
    "python3-numpy",
    "python3-pandas",
    "python3-matplotlib",
    "r-base-core",
    "r-cran-ggplot2",
    "fonts-dejavu-core",
    "libcap2-bin",
    "uidmap",
    "iproute2",
    "procps",
    "jq",
];

/// Installed where its version is one that execgate runs code with.
const NODE: &str = "nodejs";

/// Where the guest looks for images, as `guest/suite.sh` has it.
const IMAGES: &str = "/var/cache/execgate";

/// Room for what the tests write, in MiB.
const ROOM_MIB: u64 = 1024;

/// The disk of a release, filled where it is not there yet.
pub(super) fn fill(release: Release, execgate: &Path, folder: &Path) -> Result<PathBuf> {
    let place = folder.join(format!("{}.disk", release.suite));
    if place.is_file() {
        return Ok(place);
    }
    ensure!(
        rustix::process::geteuid().is_root(),
        "only root can fill the disk of a Debian: run this as root"
    );
    println!("vm: filling a disk with Debian {}", release.suite);
    let scratch = tempfile::tempdir_in(folder).context("failed to make a folder")?;
    let tree = scratch.path().join("root");
    // APT's own user has to find its way.
    open_to_all(scratch.path())?;
    let mut debian = shell::command("mmdebstrap", &["--mode=root", "--variant=minbase", "--skip=check/qemu"]);
    let packages: Vec<_> = PACKAGES.into_iter().chain(release.has_node.then_some(NODE)).collect();
    debian
        .arg(format!("--include={}", packages.join(",")))
        .arg(release.suite)
        .arg(&tree)
        .args(kernel::sources(release));
    shell::captures(&mut debian)?;
    fs::copy(execgate, tree.join("mnt/execgate")).context("failed to copy execgate")?;
    let mut build = shell::command("chroot", &[]);
    build.arg(&tree).args(["/mnt/execgate", "image", "build", "--image-cache", IMAGES]);
    shell::captures(&mut build)?;
    fs::remove_file(tree.join("mnt/execgate")).context("failed to take execgate away again")?;
    disk::make(&tree, &place, ROOM_MIB, ROOT_MARK)?;
    Ok(place)
}

fn open_to_all(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder, open).context("failed to open a folder to others")
}
