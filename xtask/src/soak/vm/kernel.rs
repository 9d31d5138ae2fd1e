//! Debian's cloud kernels, fetched by APT with folders and sources of its own; nothing is installed.
//!
//! A cloud kernel has `NVMe` and ext4 built in, so that a disk is enough to boot it: no initramfs, no modules.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::machine::Release;
use crate::shell;

/// The package that leads to the newest one.
const NEWEST: &str = "linux-image-cloud-amd64";

/// What a kernel is split into, in one release or another; each name goes on with the version.
const PARTS: [&str; 2] = ["linux-image-", "linux-binary-"];

/// The key ring of Debian's archive, which `debian-archive-keyring` brings.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The lines of `sources.list` for a release.
pub(super) fn sources(release: Release) -> Vec<String> {
    let line = |suite: &&str| {
        let archive = if suite.ends_with("-security") { "debian-security" } else { "debian" };
        // Debian leaves the key to be chosen; sid of a mirror that stands still is older than it says it may be.
        format!("deb [signed-by={KEYS} check-valid-until=no] http://deb.debian.org/{archive} {suite} main")
    };
    [release.suite].iter().chain(release.also).map(line).collect()
}

/// The kernel of a release, fetched where it is not there yet.
pub(super) fn fetch(release: Release, folder: &Path) -> Result<PathBuf> {
    let place = folder.join(format!("{}.vmlinuz", release.suite));
    if place.is_file() {
        return Ok(place);
    }
    let scratch = tempfile::tempdir_in(folder).context("failed to make a folder")?;
    let apt = Apt::of(release, scratch.path())?;
    shell::captures(&mut apt.command("apt-get", &["update", "--quiet"]))?;
    let packages = apt.parts()?;
    println!("vm: fetching {}", packages.iter().cloned().collect::<Vec<_>>().join(", "));
    let mut download = apt.command("apt-get", &["download", "--quiet"]);
    shell::captures(download.args(&packages))?;
    for file in
        entries(scratch.path())?.iter().filter(|file| file.extension().is_some_and(|kind| kind == "deb"))
    {
        let mut unpack = shell::command("dpkg-deb", &["--extract"]);
        shell::captures(unpack.arg(file).arg(scratch.path().join("tree")))?;
    }
    let kernel = find_kernel(&scratch.path().join("tree"))?.context("the packages hold no kernel")?;
    fs::rename(&kernel, &place).with_context(|| format!("failed to keep {}", kernel.display()))?;
    Ok(place)
}

/// APT in folders of its own.
struct Apt<'a> {
    folder: &'a Path,
}

impl<'a> Apt<'a> {
    fn of(release: Release, folder: &'a Path) -> Result<Self> {
        for inner in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(inner)).context("failed to make a folder")?;
        }
        fs::write(folder.join("sources.list"), sources(release).join("\n") + "\n")
            .context("failed to write the sources")?;
        Ok(Self { folder })
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let at = |inner: &str| self.folder.join(inner).display().to_string();
        let options = [
            ("Dir::State::Lists", at("lists")),
            ("Dir::State::Status", "/dev/null".to_owned()),
            ("Dir::Cache", at("cache")),
            ("Dir::Etc::SourceList", at("sources.list")),
            ("Dir::Etc::SourceParts", "/dev/null".to_owned()),
            ("Acquire::Languages", "none".to_owned()),
            // Its own user cannot come here.
            ("APT::Sandbox::User", "root".to_owned()),
        ];
        let mut command = shell::command(program, &[]);
        command.args(options.map(|(name, value)| format!("--option={name}={value}"))).args(args);
        command.current_dir(self.folder);
        command
    }

    /// The packages that the kernel is in.
    fn parts(&self) -> Result<BTreeSet<String>> {
        let (mut found, mut open) = (BTreeSet::new(), vec![NEWEST.to_owned()]);
        while let Some(package) = open.pop() {
            let told =
                shell::captures(&mut self.command("apt-cache", &["depends", "--important", &package]))?;
            open.extend(parts_of(&told).filter(|part| found.insert((*part).to_owned())).map(str::to_owned));
        }
        Ok(found)
    }
}

/// The parts of a kernel that `apt-cache depends` names.
fn parts_of(told: &str) -> impl Iterator<Item = &str> {
    let is_part = |name: &&str| {
        let version = PARTS.iter().find_map(|part| name.strip_prefix(part));
        version.is_some_and(|version| version.starts_with(|letter: char| letter.is_ascii_digit()))
    };
    told.lines().filter_map(|line| line.trim().strip_prefix("Depends: ")).filter(is_part)
}

/// `boot/vmlinuz-*`, or `vmlinuz` among the modules.
fn find_kernel(folder: &Path) -> Result<Option<PathBuf>> {
    for path in entries(folder)? {
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            if let Some(found) = find_kernel(&path)? {
                return Ok(Some(found));
            }
        } else if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"vmlinuz")) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
    read().with_context(|| format!("failed to read {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_followed_from_its_newest_to_the_package_that_holds_it() {
        let newest = "linux-image-cloud-amd64\n  Depends: linux-base-cloud-amd64\n  Depends: linux-image-7.3.4+deb13-cloud-amd64\n";
        assert_eq!(parts_of(newest).collect::<Vec<_>>(), ["linux-image-7.3.4+deb13-cloud-amd64"]);
        let split = "linux-image-7.3.4+deb13-cloud-amd64\n  PreDepends: linux-base\n |Depends: dracut\n  Depends: <linux-initramfs-tool>\n    dracut\n  Depends: linux-binary-7.3.4+deb13-cloud-amd64\n  Depends: linux-modules-7.3.4+deb13-cloud-amd64\n";
        assert_eq!(parts_of(split).collect::<Vec<_>>(), ["linux-binary-7.3.4+deb13-cloud-amd64"]);
    }

    #[test]
    fn security_updates_come_from_an_archive_of_their_own() {
        let told = sources(Release { suite: "trixie", has_node: true, also: &["trixie-security"] });
        assert!(told[0].ends_with(" http://deb.debian.org/debian trixie main"), "{told:?}");
        assert!(told[1].ends_with(" http://deb.debian.org/debian-security trixie-security main"), "{told:?}");
    }
}
