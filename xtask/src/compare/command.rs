//! The command line of the comparison.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::bench::adopt_orphans;
use crate::compare::attack::{self, CLASSES, Ended};
use crate::compare::table::{Cell, table};
use crate::compare::tool::Tool;
use crate::{metadata, shell};

/// `cargo xtask compare`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this class of attacks.
    #[arg(long, value_name = "CLASS", value_parser = CLASSES)]
    only: Option<String>,
    /// Compare this binary instead of building one.
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// Compares; `true` if nothing got through ours.
pub(crate) fn run(args: &Args) -> Result<bool> {
    adopt_orphans()?;
    let binary = match &args.binary {
        Some(binary) => fs::canonicalize(binary).context("failed to find the binary")?,
        None => {
            let built = shell::streams(&mut shell::cargo(&["build", "--release", "--package", "execgate"]))?;
            ensure!(built, "the release binary does not build");
            metadata::workspace()?.target_directory.join("release/execgate")
        }
    };
    let tools = Tool::all(&binary)?;
    for tool in &tools {
        for (control, expected) in attack::controls()? {
            let ended = tool.run(&control)?;
            ensure!(ended == expected, "{} does not run programs as it should: {ended:?}", tool.name);
        }
        println!("{}: {}", tool.name, tool.version);
    }
    let classes: Vec<&str> =
        CLASSES.into_iter().filter(|class| args.only.as_deref().is_none_or(|only| only == *class)).collect();
    let mut rows = Vec::new();
    for class in classes {
        rows.push((class, cells(class, &tools)?));
    }
    let names: Vec<&str> = tools.iter().map(|tool| tool.name).collect();
    println!("\n{}", table(&names, &rows));
    Ok(rows.iter().all(|(_, cells)| {
        cells.first().is_some_and(|ours| ours.through.is_empty() && ours.not_run.is_empty())
    }))
}

/// A row: each attack through each tool, one after the other.
fn cells(class: &str, tools: &[Tool]) -> Result<Vec<Cell>> {
    let attacks = attack::read(class)?;
    let mut ends: Vec<Vec<(String, Ended)>> = tools.iter().map(|_| Vec::new()).collect();
    for attack in &attacks {
        for (tool, ends) in tools.iter().zip(&mut ends) {
            ends.push((attack.name.clone(), tool.run(attack)?));
        }
    }
    println!("{class}: {} attacks through {} tools", attacks.len(), tools.len());
    Ok(ends.into_iter().map(Cell::of).collect())
}
