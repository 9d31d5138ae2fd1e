//! Python packages: wheels that the operator's pip fetches and unpacks for the Python of the image.
//!
//! Wheels only. A source package is made into a wheel by running its own code, and pip is started so that it cannot.

use std::env::consts::ARCH;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::recipe::AddedPackage;
use super::error::PackagesError;
use super::ground::Python;
use super::spec::{PythonPackage, normal_python_name};
use super::tool::{Said, Tool};

/// Keeps pip from starting programs.
const FETCH_ONLY: &str = include_str!("fetch_only.py");

/// The oldest GNU C library, by its second number, that wheels are labelled with.
const OLDEST_LIBC: u32 = 5;

/// Labels of wheels that have a name of their own, and the C library that each is for.
const NAMED_PLATFORMS: &[(u32, &str)] = &[(17, "manylinux2014"), (12, "manylinux2010"), (5, "manylinux1")];

/// What pip makes beside the packages that is about this host: programs that begin with the place of its Python.
const PROGRAMS: &str = "bin";

/// What is asked of pip.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    /// Packages by name.
    pub(super) packages: &'a [PythonPackage],
    /// A requirements file.
    pub(super) requirements: Option<&'a Path>,
    /// The only place to take wheels from.
    pub(super) wheels: Option<&'a Path>,
}

/// Fetches packages into a folder below `scratch`, for a Python on this machine with that C library.
pub(super) fn fetch(
    scratch: &Path,
    asked: &Asked<'_>,
    python: &Python,
    libc_minor: u32,
) -> Result<(PathBuf, Vec<AddedPackage>), PackagesError> {
    let target = scratch.join("python");
    let pip = find_pip(scratch, &python.version)?;
    let said = pip_tool(&pip, scratch)?.with(|pip| arrange(pip, asked, python, libc_minor, &target)).run()?;
    if !said.status.success() {
        return Err(refusal(&said, python));
    }
    let arranged = tidy_up(&target);
    arranged.map_err(|source| PackagesError::Arrange { path: target.clone(), source })?;
    let added = list(&target, asked.packages);
    let added = added.map_err(|source| PackagesError::Arrange { path: target.clone(), source })?;
    compile(scratch, &target, python)?;
    Ok((target, added))
}

/// Why pip gave nothing.
fn refusal(said: &Said, python: &Python) -> PackagesError {
    const LAST_TRY: &str = "(Retry(total=0,";
    const BECAUSE: &str = "after connection broken by ";
    let unreached = said.find(|line| line.split_once(LAST_TRY)?.1.split_once(BECAUSE).map(|(_, why)| why));
    if let Some(said) = unreached {
        return PackagesError::Unreached { said };
    }
    let said = said.line(|line| {
        let error = line.strip_prefix("ERROR: ")?;
        // the line after this one says it without hundreds of versions
        (!error.contains("(from versions: ")).then_some(error)
    });
    PackagesError::Pip { python: python.version.clone(), machine: ARCH, said }
}

/// A Python of this host that has pip: one of the image's version where there is one, since pip judges by its own
/// Python which packages another needs.
fn find_pip(scratch: &Path, version: &str) -> Result<PathBuf, PackagesError> {
    let candidates = [
        format!("/usr/bin/python{version}"),
        format!("python{version}"),
        "/usr/bin/python3".into(),
        "python3".into(),
    ];
    for candidate in candidates.map(PathBuf::from) {
        let tool = Tool::new("python3", &candidate, scratch)?;
        match tool.with(|python| python.args(["-I", "-c", "import pip"])).run() {
            Ok(said) if said.status.success() => return Ok(candidate),
            Ok(_) | Err(PackagesError::Start { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(PackagesError::NoPip)
}

fn pip_tool(python: &Path, scratch: &Path) -> Result<Tool, PackagesError> {
    let tool = Tool::new("pip", python, scratch)?;
    Ok(tool.with(|python| python.args(["-I", "-c", FETCH_ONLY])))
}

fn arrange<'c>(
    pip: &'c mut Command,
    asked: &Asked<'_>,
    python: &Python,
    libc_minor: u32,
    target: &Path,
) -> &'c mut Command {
    pip.args([
        "install",
        "--quiet",
        "--only-binary",
        ":all:",
        "--no-compile",
        "--no-input",
        "--no-cache-dir",
    ]);
    pip.args([
        "--disable-pip-version-check",
        "--no-warn-script-location",
        "--progress-bar",
        "off",
        "--no-color",
    ]);
    pip.args(["--implementation", "cp", "--python-version", &python.version]);
    pip.args(["--abi", &format!("cp{}", python.version.replace('.', ""))]);
    for platform in platforms(ARCH, libc_minor) {
        pip.args(["--platform", &platform]);
    }
    pip.arg("--target").arg(target);
    // an operator's own habits that would contradict `--target`
    pip.env("PIP_USER", "0").env("PIP_REQUIRE_VIRTUALENV", "0");
    if let Some(wheels) = asked.wheels {
        pip.args(["--isolated", "--no-index", "--find-links"]).arg(wheels);
        pip.env("PIP_CONFIG_FILE", "/dev/null");
    }
    if let Some(requirements) = asked.requirements {
        pip.arg("--requirement").arg(requirements);
    }
    pip.arg("--").args(asked.packages.iter().map(ToString::to_string))
}

/// Labels of the wheels that run on a machine with a GNU C library of this version, the best first.
fn platforms(machine: &str, libc_minor: u32) -> Vec<String> {
    let mut platforms = Vec::new();
    for minor in (OLDEST_LIBC..=libc_minor).rev() {
        platforms.push(format!("manylinux_2_{minor}_{machine}"));
        let named = NAMED_PLATFORMS.iter().filter(|(of, _)| *of == minor);
        platforms.extend(named.map(|(_, name)| format!("{name}_{machine}")));
    }
    platforms.push(format!("linux_{machine}"));
    platforms
}

/// Removes what tells of this host: programs, and where a wheel came from.
fn tidy_up(target: &Path) -> io::Result<()> {
    absent_is_fine(fs::remove_dir_all(target.join(PROGRAMS)))?;
    for entry in fs::read_dir(target)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "dist-info") {
            absent_is_fine(fs::remove_file(path.join("direct_url.json")))?;
        }
    }
    Ok(())
}

fn absent_is_fine(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The packages in a folder, by the names of their descriptions.
fn list(target: &Path, asked: &[PythonPackage]) -> io::Result<Vec<AddedPackage>> {
    let mut added = Vec::new();
    for entry in fs::read_dir(target)? {
        let name = entry?.file_name();
        let described = name.to_str().and_then(|name| name.strip_suffix(".dist-info")?.rsplit_once('-'));
        if let Some((name, version)) = described {
            let name = normal_python_name(name);
            added.push(AddedPackage {
                language: "python".to_owned(),
                asked: asked.iter().any(|package| package.normal_name() == name),
                name,
                version: Some(version.to_owned()),
            });
        }
    }
    added.sort_unstable();
    Ok(added)
}

/// Compiles what was fetched, as far as it compiles: guests cannot, since their image is read-only.
///
/// Compiling reads and runs nothing. What is compiled is marked as valid whatever its source's time, names the source
/// by its place in the image, and is the same each time.
fn compile(scratch: &Path, target: &Path, python: &Python) -> Result<Option<Said>, PackagesError> {
    let program = PathBuf::from(format!("/usr/bin/python{}", python.version));
    if !program.is_file() {
        return Ok(None);
    }
    let tool = Tool::new("the Python compiler", &program, scratch)?.with(|compiler| {
        compiler.env_clear().env("PYTHONHASHSEED", "0").env("LANG", "C.UTF-8").current_dir("/");
        compiler.args([
            "-s",
            "-S",
            "-m",
            "compileall",
            "-q",
            "-j",
            "0",
            "--invalidation-mode",
            "unchecked-hash",
        ]);
        compiler.arg("-s").arg(target).arg("-p").arg(format!("/{}", python.packages)).arg(target)
    });
    tool.run().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_labels_of_wheels_go_down_from_the_c_library_that_is_there() {
        let platforms = platforms("aarch64", 18);
        assert_eq!(
            platforms[..4],
            [
                "manylinux_2_18_aarch64",
                "manylinux_2_17_aarch64",
                "manylinux2014_aarch64",
                "manylinux_2_16_aarch64"
            ]
        );
        assert_eq!(platforms[platforms.len() - 2..], ["manylinux1_aarch64", "linux_aarch64"]);
        assert!(!platforms.iter().any(|platform| platform.starts_with("manylinux_2_19")));
    }
}
