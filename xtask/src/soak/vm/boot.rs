//! One machine from its start to its end: QEMU without a network, whose disks forget what is written to them.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::disk;
use super::told::Told;
use crate::shell;

/// Memory of a machine, in MiB: sixteen runs at once of 512 MiB are never used to the full.
const MEMORY_MIB: u32 = 4096;

/// The first process, on the disk of the tests, which is the one that is not mounted yet. `/mnt` is a folder that every
/// Debian has.
const FIRST: &str = "mount -t devtmpfs dev /dev; for disk in /dev/nvme0n?p1; do \
                     mount -o ro -t ext4 $disk /mnt && [ -e /mnt/init.sh ] && exec bash /mnt/init.sh; umount /mnt; done";

/// What a userland's disk is found by.
pub(super) const ROOT_MARK: u32 = 0xe8ec_0001;

/// What the tests' is.
pub(super) const TESTS_MARK: u32 = 0xe8ec_0002;

/// What a machine is booted of.
pub(super) struct Parts<'a> {
    pub(super) kernel: &'a Path,
    /// The userland's disk.
    pub(super) root: &'a Path,
    /// The tests' disk.
    pub(super) tests: &'a Path,
    /// Where everything goes that is printed.
    pub(super) log: &'a Path,
    pub(super) processors: usize,
    /// How long it may take.
    pub(super) bound: Duration,
}

/// Boots a machine, prints what it finds out as it does, and waits for its end.
pub(super) fn boot(parts: &Parts<'_>) -> Result<Told> {
    let mut machine = qemu(parts).spawn().context("failed to start qemu-system-x86_64")?;
    let told = follow(&mut machine, parts);
    // Whatever came of it: nothing of it is left behind.
    if machine.try_wait().context("failed to look at QEMU")?.is_none() {
        machine.kill().context("failed to end QEMU")?;
    }
    machine.wait().context("failed to wait for QEMU")?;
    told
}

fn qemu(parts: &Parts<'_>) -> Command {
    // By `setpriv`, so that it ends with this program, however that ends.
    let mut command = shell::command("setpriv", &["--pdeathsig", "KILL", "qemu-system-x86_64"]);
    command.args(["-accel", "tcg,thread=multi", "-cpu", "max"]);
    command.args(["-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot", "-nic", "none"]);
    command.args(["-smp", &parts.processors.to_string(), "-m", &MEMORY_MIB.to_string()]);
    let root = disk::partition(ROOT_MARK);
    command.arg("-kernel").arg(parts.kernel).args([
        "-append",
        &format!(
            "console=ttyS0 quiet panic=-1 root=PARTUUID={root} rootwait rw init=/bin/bash -- -c \"{FIRST}\""
        ),
    ]);
    command.args(["-device", "nvme,id=disks,serial=disks"]);
    for (number, disk) in [(1, parts.root), (2, parts.tests)] {
        command
            .arg("-drive")
            .arg(format!("id=d{number},if=none,format=raw,snapshot=on,file={}", disk.display()));
        command.args(["-device", &format!("nvme-ns,drive=d{number},bus=disks,nsid={number}")]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

fn follow(machine: &mut Child, parts: &Parts<'_>) -> Result<Told> {
    let end = Instant::now() + parts.bound;
    let console = machine.stdout.take().context("QEMU has no output")?;
    let mut log =
        File::create(parts.log).with_context(|| format!("failed to write {}", parts.log.display()))?;
    let (says, said) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            if says.send(line).is_err() {
                return;
            }
        }
    });
    let mut told = Told::default();
    loop {
        match said.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                let line = String::from_utf8_lossy(&line);
                writeln!(log, "{line}").context("failed to write the log")?;
                if let Some(finding) = told.line(&line) {
                    let word = if finding.passed { "ok" } else { "FAILED" };
                    println!(
                        "{word:<7} {:>4} s  {} {}",
                        finding.took.as_secs(),
                        finding.program,
                        finding.name
                    );
                }
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(told),
            Err(RecvTimeoutError::Timeout) => {
                println!("vm: not done within {} minutes; ended", parts.bound.as_secs() / 60);
                return Ok(told);
            }
        }
    }
}
