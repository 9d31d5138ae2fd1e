//! How each tool is told to run a program, as somebody would who reads its manual and takes care.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::bench::{children, living_descendants, reap_others};
use crate::compare::attack::{Attack, Ended, LEFT, judge};
use crate::shell;

/// Longer than any tool needs to end what it started, after the program's own deadline, in seconds.
const GRACE_S: u64 = 20;

/// How long processes that were left behind have to go away.
const LEFT_LIMIT: Duration = Duration::from_secs(2);

/// The beginning and the end of the output that are kept: more than our own answer can be with a MiB of it in JSON.
const KEPT_BYTES: usize = 16 << 20;

/// How much is read at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// Users whom nobody else is, so that a count of processes is of a tool alone: the first, and one more for each tool.
const FIRST_USER: u32 = 62_000;

/// bubblewrap, with everything that it can take away: every namespace and any further one, capabilities, the session,
/// the environment; the system's programs read-only; bounded scratch folders. It has no filter of its own.
const BWRAP: &str = "--unshare-all --unshare-user --disable-userns --cap-drop ALL --die-with-parent --new-session --clearenv \
    --setenv PATH /usr/bin:/bin --setenv HOME /home/user --uid 1000 --gid 1000 --hostname jail --ro-bind /usr /usr \
    --symlink usr/lib /lib --symlink usr/lib64 /lib64 --symlink usr/bin /bin --ro-bind /etc/passwd /etc/passwd \
    --proc /proc --dev /dev --size 268435456 --tmpfs /tmp --size 268435456 --tmpfs /home/user --chdir /home/user";

/// What util-linux's limits can add, beside the memory of each process: processes of the user, descriptors, files, cores.
const PRLIMIT: &str = "--nproc=64 --nofile=256 --fsize=268435456 --core=0 --memlock=0 --msgqueue=0";

/// nsjail with a limit of every kind that it has, and no filter, since one has to be written for it.
const NSJAIL: &str = "--mode o --really_quiet --disable_proc=false --user 1000 --group 1000 --hostname jail \
    --rlimit_nproc 64 --rlimit_nofile 256 --rlimit_fsize 256 --rlimit_core 0 --bindmount_ro /usr --symlink /usr/lib:/lib \
    --symlink /usr/lib64:/lib64 --symlink /usr/bin:/bin --bindmount_ro /etc/passwd --tmpfsmount /tmp --tmpfsmount /home/user \
    --bindmount /dev/null --bindmount_ro /dev/zero --bindmount_ro /dev/urandom --cwd /home/user --env PATH=/usr/bin:/bin";

/// A tool that runs a program where it should do no harm.
pub(crate) struct Tool {
    /// Its name in the table.
    pub(crate) name: &'static str,
    /// Its version, as it tells it.
    pub(crate) version: String,
    kind: Kind,
}

enum Kind {
    Execgate(PathBuf),
    /// A user's id, and the words before the interpreter's; where they are to limit memory, they end in how.
    Words {
        user: u32,
        limits: bool,
        words: Vec<String>,
    },
}

impl Tool {
    /// Every tool that is there: ours, and bubblewrap and nsjail where they are installed.
    pub(crate) fn all(binary: &Path) -> Result<Vec<Self>> {
        let mut tools = vec![Self {
            name: "execgate",
            version: version(&mut Command::new(binary)),
            kind: Kind::Execgate(binary.to_path_buf()),
        }];
        let mut add = |name, program: &str, limits, flags: &str| {
            let Some(path) = shell::find_program(program) else { return Ok(()) };
            let path = path.to_str().context("a program's path is no text")?;
            let version = version(&mut Command::new(path));
            let words = [path].into_iter().chain(flags.split_whitespace()).map(str::to_owned).collect();
            let user = FIRST_USER + u32::try_from(tools.len())?;
            tools.push(Self { name, version, kind: Kind::Words { user, limits, words } });
            anyhow::Ok(())
        };
        add("bubblewrap", "bwrap", false, BWRAP)?;
        add("bubblewrap, prlimit", "bwrap", true, BWRAP)?;
        add("nsjail", "nsjail", true, NSJAIL)?;
        Ok(tools)
    }

    /// Runs an attack, and says what came of it.
    pub(crate) fn run(&self, attack: &Attack) -> Result<Ended> {
        let known = children();
        let ended = self.run_once(attack);
        // A tool that does not wait for its own leaves them to this process, where they count as the user's.
        reap_others(&known);
        ended
    }

    fn run_once(&self, attack: &Attack) -> Result<Ended> {
        let mut child = self
            .command(attack)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("failed to start {}", self.name))?;
        let output = output_of(&mut child)?;
        let status = child.wait().context("failed to wait for a tool")?;
        let ended = match &self.kind {
            Kind::Execgate(_) => told(&output),
            Kind::Words { .. } => judge(&output, &status.to_string()),
        };
        if attack.leaves && is_left() {
            return Ok(Ended::Through("a process lives on".to_owned()));
        }
        Ok(ended)
    }

    fn command(&self, attack: &Attack) -> Command {
        match &self.kind {
            Kind::Execgate(binary) => {
                let mut command = Command::new(binary);
                let [seconds, memory] = [attack.seconds, attack.memory_mib].map(|number| number.to_string());
                command.args(["run", "--json", "--timeout", &seconds, "--memory", &memory]);
                command.args(["--eval", &attack.program]);
                command
            }
            Kind::Words { user, limits, words } => {
                let [user, seconds] = [u64::from(*user), attack.seconds].map(|number| number.to_string());
                let data = format!("--data={}", attack.memory_mib << 20);
                let mut all: Vec<&str> = Vec::new();
                if rustix::process::geteuid().is_root() {
                    all.extend(["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"]);
                }
                all.extend(["timeout", "--kill-after", "1", &seconds]);
                if *limits {
                    all.extend(["prlimit", &data].into_iter().chain(PRLIMIT.split_whitespace()));
                }
                all.extend(words.iter().map(String::as_str));
                all.extend(["/usr/bin/python3", "-I", "-c", &attack.program]);
                let mut command = Command::new(all[0]);
                command
                    .args(&all[1..])
                    .env_clear()
                    .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                    .current_dir("/");
                command
            }
        }
    }
}

fn version(command: &mut Command) -> String {
    let told = shell::captures(command.arg("--version")).unwrap_or_default();
    told.lines().next().unwrap_or("unknown").to_owned()
}

/// The beginning and the end of what a tool prints, which is read to its end. A tool that does not end is killed.
fn output_of(child: &mut Child) -> Result<String> {
    let mut stdout = child.stdout.take().context("a tool without output")?;
    let reading = thread::spawn(move || {
        let (mut first, mut last) = (Vec::new(), Vec::new());
        let mut chunk = vec![0; CHUNK_BYTES];
        while let Ok(read @ 1..) = stdout.read(&mut chunk) {
            if first.len() < KEPT_BYTES {
                first.extend_from_slice(&chunk[..read]);
            } else {
                last.extend_from_slice(&chunk[..read]);
                let spare = last.len().saturating_sub(CHUNK_BYTES * 2);
                last.drain(..spare);
            }
        }
        first.extend(last);
        String::from_utf8_lossy(&first).into_owned()
    });
    let start = Instant::now();
    // The reader ends when nobody can print any more; what holds the output open beyond the grace is ended.
    while !reading.is_finished() {
        if start.elapsed() > Duration::from_secs(GRACE_S * 2) {
            child.kill().context("failed to end a tool")?;
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    reading.join().ok().context("the reader of a tool's output panicked")
}

/// What our own answer says: the program's words, or the verdict.
fn told(output: &str) -> Ended {
    let answer: Value = serde_json::from_str(output).unwrap_or_default();
    let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default();
    match text("verdict") {
        "" => Ended::NotRun("no answer".to_owned()),
        verdict => judge(text("stdout"), verdict),
    }
}

/// Whether a process of the name lives on; those that do are ended, if they are below this process.
fn is_left() -> bool {
    let start = Instant::now();
    let named = || -> Vec<i32> {
        let ids = living_descendants();
        let is_named = |id: &i32| {
            let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).next() == Some(LEFT.as_bytes())
        };
        ids.into_iter().filter(is_named).collect()
    };
    while !named().is_empty() {
        if start.elapsed() > LEFT_LIMIT {
            return true;
        }
        thread::sleep(Duration::from_millis(10));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Tool {
        let words = ["/bin/sh", "-c", script, "sh"].map(str::to_owned).to_vec();
        Tool {
            name: "shell",
            version: String::new(),
            kind: Kind::Words { user: FIRST_USER, limits: false, words },
        }
    }

    fn attack() -> Attack {
        Attack { name: String::new(), program: String::new(), seconds: 5, memory_mib: 512, leaves: false }
    }

    #[test]
    fn what_a_program_told_is_taken_from_the_end_of_a_flood() {
        let tool = shell("head -c 30000000 /dev/zero; echo; echo through flood");
        assert_eq!(tool.run(&attack()).unwrap(), Ended::Through("flood".to_owned()));
        assert_eq!(shell("exit 3").run(&attack()).unwrap(), Ended::NotRun("exit status: 3".to_owned()));
        assert_eq!(
            shell("echo begun; exit 3").run(&attack()).unwrap(),
            Ended::Silent("exit status: 3".to_owned())
        );
    }

    #[test]
    fn our_own_answer_is_read_by_its_verdict() {
        assert_eq!(told(r#"{"verdict":"Timeout","stdout":""}"#), Ended::NotRun("Timeout".to_owned()));
        assert_eq!(told(r#"{"verdict":"Value","stdout":"held EPERM\n"}"#), Ended::Held("EPERM".to_owned()));
        assert_eq!(told("no json"), Ended::NotRun("no answer".to_owned()));
    }
}
