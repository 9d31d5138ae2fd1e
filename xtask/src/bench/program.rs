//! Programs that the case starts, each until it is dropped: they say in a line where they listen.

use std::io::{BufRead as _, BufReader, sink};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::{env, io, thread};

use anyhow::{Context, Result, bail};

/// How Node takes a module as a text, so that it finds the packages of the folder that it runs in.
const MODULE: [&str; 2] = ["--input-type=module", "--eval"];

/// A program that listens.
pub(crate) struct Program {
    child: Child,
    /// Where.
    pub(crate) address: SocketAddr,
}

impl Program {
    /// Starts it, and waits for a line that ends with where it listens, behind `before`.
    pub(crate) fn start(command: &mut Command, before: &str) -> Result<Self> {
        let read = |line: &str| line.trim().rsplit_once(before).map(|(_, address)| address.parse());
        let (child, found) = spawn(command, read)?;
        // Whatever went wrong, the child is ended.
        let mut program = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        program.address = found.context("a program does not say where it listens")?;
        Ok(program)
    }

    /// The same of a module for Node, in the folder of its packages.
    pub(crate) fn node(module: &str, folder: &Path, args: &[&str]) -> Result<Self> {
        Self::start(&mut node(module, folder, args), "http://")
    }

    /// The same of a program that listens on no address, as soon as it has said a line with this in it.
    pub(crate) fn said(command: &mut Command, what: &str) -> Result<Self> {
        let (child, ()) = spawn(command, |line| line.contains(what).then_some(()))?;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(Self { child, address })
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it answers HTTP.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Starts a program, and waits for a line that something is read from.
fn spawn<T>(command: &mut Command, read: impl Fn(&str) -> Option<T>) -> Result<(Child, T)> {
    let what = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to start {what}"))?;
    let mut said = BufReader::new(child.stdout.take().context("its output is piped")?);
    let mut line = String::new();
    loop {
        line.clear();
        if said.read_line(&mut line)? == 0 {
            child.wait()?;
            bail!("{what} ended before it had said what it is waited for");
        }
        if let Some(found) = read(&line) {
            // It goes on to tell of itself: somebody has to listen.
            thread::spawn(move || io::copy(&mut said, &mut sink()));
            return Ok((child, found));
        }
    }
}

/// A module for Node that says all that it has to say and ends.
pub(crate) fn told_by_node(module: &str, folder: &Path, args: &[&str]) -> Result<String> {
    let output = node(module, folder, args).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    anyhow::ensure!(output.status.success(), "a module for Node failed");
    Ok(String::from_utf8(output.stdout)?)
}

fn node(module: &str, folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("node");
    let kept = ["PATH", "HOME"].into_iter().filter_map(|name| Some((name, env::var_os(name)?)));
    command.args(MODULE).arg(module).args(args).current_dir(folder).env_clear().envs(kept);
    // What makers of servers tell their users to set.
    command.env("NODE_ENV", "production");
    command
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
