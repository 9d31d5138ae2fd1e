//! A cold release build of the binary: how long, how many crates, how large.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::bench::command::Plan;
use crate::bench::report::Case;
use crate::{metadata, shell};

/// Measures the case, in a target directory of its own that is removed before and after.
pub(crate) fn measure(plan: &Plan) -> Result<Case> {
    let crates = metadata::resolved()?.compiled_for("execgate")?;
    let folder = tempfile::Builder::new().prefix("build-").tempdir_in(&plan.scratch)?;
    let target = folder.path().to_str().context("the target directory's path is no UTF-8")?;
    let start = Instant::now();
    let args = ["build", "--release", "--locked", "--package", "execgate", "--target-dir", target];
    let built = shell::streams(&mut shell::cargo(&args))?;
    let took = start.elapsed();
    ensure!(built, "the release binary does not build");
    let size =
        fs::metadata(folder.path().join("release/execgate")).context("failed to find the binary")?.len();
    let facts = BTreeMap::from([
        ("crates", u64::try_from(crates)?),
        ("build_ms", u64::try_from(took.as_millis())?),
        ("binary_bytes", size),
    ]);
    let about = "cargo build --release --package execgate, from an empty target directory".to_owned();
    Ok(Case { name: "build", about, rows: Vec::new(), facts, notes: Vec::new() })
}
