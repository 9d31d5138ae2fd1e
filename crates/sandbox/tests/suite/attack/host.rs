//! The host as it was before an attack, and whether it still is.

use std::collections::BTreeMap;
use std::env::temp_dir;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use execgate_sandbox::Sandbox;
use tempfile::NamedTempFile;

use super::super::census::{Census, census};
use super::super::world::{comes_true, value_in};

/// What else runs on the machine may take or give back this much meanwhile, in bytes; an attack that was not held takes
/// as much as it can.
const SLACK_BYTES: u64 = 4 << 30;

/// What nobody changes while tests run.
const SETTINGS: [&str; 9] = [
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/domainname",
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/user/max_user_namespaces",
    "/proc/swaps",
    "/proc/self/mountinfo",
    "/proc/self/limits",
];

/// What the list's programs name in the kernel: the key of shared memory and semaphores, as `/proc/sysvipc` shows it.
const KERNEL_KEY: &str = "1702389091";

/// A process and a file that are nobody's concern, and everything that was counted.
pub(super) struct Host {
    decoy: Child,
    file: NamedTempFile,
    left: String,
    before: Seen,
    /// Free disk and memory, in bytes.
    free: [u64; 2],
}

/// What must be as it was.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    census: Census,
    decoy: BTreeMap<&'static str, String>,
    file: (Vec<u8>, u32, i64, u64),
    settings: Vec<String>,
}

impl Host {
    /// Takes note of everything. `left` is what processes are called that attacks leave behind.
    pub(super) fn look(sandbox: &Sandbox, left: String) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a process that attacks must not reach")]
        let decoy = Command::new("sleep").arg0("execgate-decoy").arg("600").spawn().unwrap();
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(b"decoy").unwrap();
        // The first run makes what a slot keeps.
        assert_eq!(value_in(sandbox, "1"), "1");
        let sleeps = || fs::read_to_string(format!("/proc/{}/stat", decoy.id())).unwrap().contains(") S ");
        assert!(comes_true(sleeps));
        let before = seen(sandbox, &decoy, &file);
        Self { decoy, file, left, before, free: free() }
    }

    /// Whether all is as it was; what the kernel does by and by is waited for.
    pub(super) fn is_unharmed(&self, sandbox: &Sandbox) -> Result<(), String> {
        let mut now = seen(sandbox, &self.decoy, &self.file);
        if now != self.before
            && !comes_true(|| {
                now = seen(sandbox, &self.decoy, &self.file);
                now == self.before
            })
        {
            return Err(format!("{:#?}\nand now\n{now:#?}", self.before));
        }
        if !comes_true(|| !is_there(&self.left)) {
            return Err(format!("a process {} is there", self.left));
        }
        for (before, now) in self.free.into_iter().zip(free()) {
            if now.saturating_add(SLACK_BYTES) < before {
                return Err(format!("{before} bytes were free and now {now}"));
            }
        }
        for kind in ["shm", "sem", "msg"] {
            if fs::read_to_string(format!("/proc/sysvipc/{kind}")).is_ok_and(|text| text.contains(KERNEL_KEY))
            {
                return Err(format!("something of the guest's is left in the kernel: {kind}"));
            }
        }
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // A decoy that an attack has ended was told of already.
        drop(self.decoy.kill());
        drop(self.decoy.wait());
    }
}

fn seen(sandbox: &Sandbox, decoy: &Child, file: &NamedTempFile) -> Seen {
    let of_decoy =
        |name: &str| fs::read_to_string(format!("/proc/{}/{name}", decoy.id())).unwrap_or_default();
    // What its status says of switches and memory is its own affair.
    let kept =
        ["Name:", "Uid:", "Gid:", "TracerPid:", "Groups:", "SigBlk:", "SigIgn:", "Seccomp:", "CapEff:"];
    let status: Vec<_> = of_decoy("status")
        .lines()
        .filter(|line| kept.iter().any(|key| line.starts_with(key)))
        .map(str::to_owned)
        .collect();
    let stat = of_decoy("stat");
    // Priority and nice value are the 16th and 17th field after the name; whether it is stopped is the first.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let sorts =
        [fields.first(), fields.get(15), fields.get(16)].map(|field| field.copied().unwrap_or_default());
    let decoy = BTreeMap::from([
        ("status", status.join("\n")),
        ("stat", sorts.join(" ")),
        ("limits", of_decoy("limits")),
        ("oom_score_adj", of_decoy("oom_score_adj")),
        ("cgroup", of_decoy("cgroup")),
    ]);
    let about = file.path().metadata().unwrap();
    let file = (fs::read(file.path()).unwrap(), about.mode(), about.mtime_nsec(), about.nlink());
    let settings = SETTINGS.iter().map(|path| fs::read_to_string(path).unwrap_or_default()).collect();
    Seen { census: census(sandbox), decoy, file, settings }
}

/// Free bytes of the disk that temporary files are on, and memory that can be had.
fn free() -> [u64; 2] {
    let disk = rustix::fs::statvfs(temp_dir()).unwrap();
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    [disk.f_bavail * disk.f_frsize, kib << 10]
}

/// Whether any process of the machine has this first argument.
fn is_there(name: &str) -> bool {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.map(|entry| entry.path().join("cmdline")).any(|path| {
        fs::read(path).is_ok_and(|line| line.split(|byte| *byte == 0).next() == Some(name.as_bytes()))
    })
}
