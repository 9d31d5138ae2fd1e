//! `cargo xtask soak attack`: programs that others wrote to break kernels, in the jail, one jail after the other.
//!
//! stress-ng asks for more of everything than there is; trinity makes calls that nobody meant. Both are brought into the
//! jail as files, and have a run's limits. Afterwards the host must be as it was, and the kernel must have said nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::bench::{adopt_orphans, living_descendants};
use crate::soak::binary;
use crate::soak::kernel_log::KernelLog;
use crate::{setup, shell};

/// How long one jail is attacked, in seconds; a soak is many jails.
const JAIL_S: u64 = 30;

/// What a jail has beyond that to end in order, in seconds.
const END_S: u64 = 10;

/// Memory of a jail, its files included, in MiB: the attackers themselves want more than a script.
const MEMORY_MIB: &str = "768";

/// Stands in for what the jail refuses and stress-ng insists on.
const SYSV: &str = "xtask/src/soak/sysv.c";

/// `cargo xtask soak attack`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long each attacker has, in minutes.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=240))]
    minutes: u64,
    /// Only this attacker.
    #[arg(long, value_parser = ["stress-ng", "trinity"])]
    only: Option<String>,
    /// Attack this binary instead of building one.
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// A program, the libraries that it is brought with, and what the shell in the jail does with them.
struct Attacker {
    name: &'static str,
    files: Vec<String>,
    script: String,
}

/// Runs the soak; `true` if the host is as it was and no kernel said a word.
pub(crate) fn run(args: &Args) -> Result<bool> {
    ensure!(setup::for_soaks()?, "something is missing that the soak attacks with");
    adopt_orphans()?;
    let (binary, scratch) = binary::of(args.binary.as_deref())?;
    let attackers = [stress_ng(&scratch)?, trinity()?];
    let mut held = true;
    for attacker in attackers.iter().filter(|one| args.only.as_deref().is_none_or(|only| only == one.name)) {
        held &= attack(attacker, &binary, &scratch, Duration::from_secs(args.minutes * 60))?;
    }
    println!("attack: {}", if held { "held" } else { "NOT HELD" });
    Ok(held)
}

fn stress_ng(scratch: &Path) -> Result<Attacker> {
    let program = shell::find_program("stress-ng").context("stress-ng is not installed")?;
    let shim = scratch.join("sysv.so");
    let path = shim.to_str().context("the target directory's path is no UTF-8")?;
    let compiled = shell::streams(&mut shell::command("cc", &["-shared", "-fPIC", "-O1", "-o", path, SYSV]))?;
    ensure!(compiled, "{SYSV} does not compile");
    let mut files = brought(&program, "stress-ng")?;
    files.push(format!("{path}=sysv.so"));
    // What it asks of `/sys` is not there; what it may take is what a run may take.
    let script = format!(
        "chmod +x stress-ng; mkdir -p /tmp/s; export LD_LIBRARY_PATH=$HOME/lib LD_PRELOAD=$HOME/sysv.so\n\
         end=$((SECONDS + {JAIL_S})); while (( SECONDS < end )); do\n\
         ./stress-ng --random 8 --timeout 4 --oomable --temp-path /tmp/s --metrics-brief --seed $SRANDOM \
         2>&1 | grep -E 'metrc|dispatching' | cut -c1-160 | tail -n 12; rm -rf /tmp/s/*; done"
    );
    Ok(Attacker { name: "stress-ng", files, script })
}

fn trinity() -> Result<Attacker> {
    let program = shell::find_program("trinity").context("trinity is not installed")?;
    let files = brought(&program, "trinity")?;
    // The 32-bit entry ends a process at once, so that the calls worth making are the others. Of files that it opens
    // beforehand there are few in a jail, and it looks for them for ever.
    let script = format!(
        "chmod +x trinity; mkdir -p /tmp/t; cd /tmp/t; export LD_LIBRARY_PATH=$HOME/lib; calls=0\n\
         end=$((SECONDS + {JAIL_S})); while (( SECONDS < end )); do\n\
         timeout --signal INT --kill-after 1 8 ~/trinity --logging=off --children 8 --arch 64 \
         --enable-fds=pipes,epoll,eventfd,timerfd,memfd > ../out 2>&1\n\
         calls=$((calls + $(grep -ac '^.child' ../out))); echo $calls calls; rm -rf /tmp/t/*; done 2> /dev/null"
    );
    Ok(Attacker { name: "trinity", files, script })
}

/// A program and its libraries, each as `--with` takes it.
fn brought(program: &Path, name: &str) -> Result<Vec<String>> {
    let path = program.to_str().context("a program's path is no text")?;
    let told = shell::captures(&mut shell::command("ldd", &[path]))?;
    let libraries =
        told.lines().filter_map(|line| line.split_whitespace().nth(2)).filter(|path| path.starts_with('/'));
    let mut files: Vec<String> = libraries
        .filter_map(|path| Some(format!("{path}=lib/{}", Path::new(path).file_name()?.to_str()?)))
        // The image has the C library, which must be the loader's own.
        .filter(|file| !["libc.so", "libm.so", "libpthread.so"].iter().any(|own| file.contains(own)))
        .collect();
    files.push(format!("{path}={name}"));
    Ok(files)
}

/// One attacker, in jail after jail, until its time is over.
fn attack(attacker: &Attacker, binary: &Path, scratch: &Path, length: Duration) -> Result<bool> {
    let log = KernelLog::note()?;
    let mut host = Host::look(scratch)?;
    let start = Instant::now();
    let mut verdicts: BTreeMap<String, u32> = BTreeMap::new();
    let mut spoke = false;
    while start.elapsed() < length {
        let (verdict, output) = in_a_jail(attacker, binary)?;
        println!("{} after {} s: {verdict}\n{}", attacker.name, start.elapsed().as_secs(), indented(&output));
        spoke |= !output.trim().is_empty();
        *verdicts.entry(verdict).or_default() += 1;
    }
    let mut wrong: Vec<String> =
        log.faults()?.into_iter().map(|line| format!("the kernel said: {line}")).collect();
    wrong.extend(host.harm()?);
    if !spoke {
        wrong.push("the attacker said nothing in any jail, and so did nothing".to_owned());
    }
    let left = living_descendants().len().saturating_sub(1);
    if left > 0 {
        wrong.push(format!("{left} processes are left"));
    }
    println!("{}: {} s, ends of the jails: {verdicts:?}", attacker.name, start.elapsed().as_secs());
    wrong.iter().for_each(|line| println!("HARM {line}"));
    Ok(wrong.is_empty())
}

/// One jail: its verdict, and what the attacker said.
fn in_a_jail(attacker: &Attacker, binary: &Path) -> Result<(String, String)> {
    let mut command = Command::new(binary);
    let seconds = (JAIL_S + END_S).to_string();
    command.args(["run", "--json", "--lang", "bash", "--timeout", &seconds, "--memory", MEMORY_MIB]);
    command.args(attacker.files.iter().flat_map(|file| ["--with", file]));
    command.args(["--eval", &attacker.script]).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().context("failed to start execgate")?;
    let answer: Value = serde_json::from_slice(&output.stdout).context("execgate answered no JSON")?;
    let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok((text("verdict"), text("stdout")))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// What no attack may touch.
struct Host {
    decoy: Child,
    file: PathBuf,
    before: Vec<String>,
}

/// What the decoy file holds.
const DECOY: &[u8] = b"decoy";

impl Host {
    fn look(scratch: &Path) -> Result<Self> {
        let decoy = Command::new("sleep").arg("100000").spawn().context("failed to start the decoy")?;
        let file = scratch.join("decoy");
        fs::write(&file, DECOY).context("failed to write the decoy")?;
        Ok(Self { decoy, file, before: settings() })
    }

    /// What is not as it was.
    fn harm(&mut self) -> Result<Vec<String>> {
        let mut harm = Vec::new();
        if self.decoy.try_wait()?.is_some() {
            harm.push("the decoy was ended".to_owned());
        }
        if !fs::read(&self.file).is_ok_and(|content| content == DECOY) {
            harm.push("the decoy file was written to".to_owned());
        }
        let now = settings();
        harm.extend(
            self.before
                .iter()
                .zip(&now)
                .filter(|(then, now)| then != now)
                .map(|(then, now)| format!("it was\n{then}and is\n{now}")),
        );
        Ok(harm)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Err(error) = self.decoy.kill().and_then(|()| self.decoy.wait()) {
            println!("the decoy could not be ended: {error}");
        }
    }
}

/// Mounts, names, settings of the kernel, folders of cgroups.
fn settings() -> Vec<String> {
    let paths = [
        "/proc/self/mountinfo",
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/randomize_va_space",
        "/proc/sysvipc/shm",
        "/proc/sysvipc/sem",
        "/proc/sysvipc/msg",
        "/proc/swaps",
    ];
    paths.iter().map(|path| fs::read_to_string(path).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_brought_with_its_libraries_but_the_images_own() {
        let files = brought(Path::new("/bin/sh"), "sh").unwrap();
        assert_eq!(files, ["/bin/sh=sh"]);
    }

    #[test]
    fn a_decoy_that_was_touched_is_harm() {
        let scratch = tempfile::tempdir().unwrap();
        let mut host = Host::look(scratch.path()).unwrap();
        assert!(host.harm().unwrap().is_empty());
        fs::write(scratch.path().join("decoy"), "x").unwrap();
        host.decoy.kill().unwrap();
        host.decoy.wait().unwrap();
        host.before[1] = "other".to_owned();
        assert_eq!(host.harm().unwrap().len(), 3);
    }
}
