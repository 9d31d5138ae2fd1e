//! The weaker tiers, by name only; and the ordinary user.

use std::fs;
use std::io::{BufRead as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use execgate_sandbox::{
    Config, ImageRoot, LimitKind, Rotation, Sandbox, SandboxError, Stdin, Tier, TierChoice, Verdict,
    spawn_helper_of,
};
use execgate_tool::code;

use super::attack::list::{ALL, is_held};
use super::parts::{PART, plays, stem_of};
use super::recovery::{kill, until_recovered};
use super::world::{
    NO_CHECKS, PATIENCE, bash, descendants, image, python, start, told, value_in, with_limits,
};

const REFUSED: &str = "import ctypes, socket\nlibc = ctypes.CDLL(None, use_errno=True)\n\
                       def made():\n    try: socket.socket(socket.AF_INET); return True\n    except OSError: return False\n\
                       libc.unshare(0x10000000), ctypes.get_errno(), made(), \
                       open('/proc/self/status').read().split('CapBnd:')[1].split()[0]";

#[test]
fn without_cgroups_the_rest_of_the_jail_stands() {
    let sandbox = start(image(), TierChoice::Exactly(Tier::JailNoCgroup), 2);
    let enforced = sandbox.enforced();
    assert_eq!((enforced.tier, enforced.cgroup.as_str()), (Tier::JailNoCgroup, "none"));
    assert!(enforced.own_uid_per_slot);
    assert_eq!(value_in(&sandbox, REFUSED), "(-1, 1, False, '0000000000000000')");
    let stem = stem_of(&sandbox);
    // More than one process may hold alone is refused to it; more than all may hold together is seen by the watchdog.
    let together = "import os, time\nfor _ in range(4):\n    if os.fork() == 0:\n        x = bytearray(40 << 20)\n        \
                    time.sleep(30)\ntime.sleep(30)";
    let run = sandbox.run(with_limits(python(together), |limits| limits.memory_bytes = 64 << 20)).unwrap();
    assert_eq!(run.verdict, Verdict::Limit(LimitKind::OutOfMemory), "{}", told(&run));
    let forks = "import os\nn = 0\ntry:\n    while True:\n        n += 1\n        if os.fork() == 0: os._exit(0) if n > 99 else os.read(0, 0) or __import__('time').sleep(30)\n\
                 except OSError as e: r = e.errno\nr, n < 40";
    let run = sandbox.run(with_limits(python(forks), |limits| limits.processes = 24)).unwrap();
    assert_eq!((run.verdict, run.value.as_deref()), (Verdict::Value, Some("(11, True)")), "{}", told(&run));
    assert_eq!(stem_of(&sandbox), stem);
}

#[test]
fn a_single_uid_is_named_and_the_rest_of_the_jail_stands() {
    let sandbox = start(image(), TierChoice::Exactly(Tier::JailSingleUid), 2);
    let enforced = sandbox.enforced();
    assert_eq!((enforced.tier, enforced.own_uid_per_slot), (Tier::JailSingleUid, false));
    assert_eq!(value_in(&sandbox, REFUSED), "(-1, 1, False, '0000000000000000')");
}

#[test]
fn the_strongest_tier_of_this_host_is_the_jail() {
    assert_eq!(start(image(), TierChoice::Strongest, 1).enforced().tier, Tier::Jail);
}

#[test]
fn a_tier_that_cannot_be_had_is_refused_and_never_weakened() {
    let folder = tempfile::tempdir().unwrap();
    let helper = folder.path().join("helper");
    // A host where nobody counts memory.
    let script = format!(
        "#!/bin/sh\nexec unshare --mount sh -c 'umount /sys/fs/cgroup/memory || umount /sys/fs/cgroup; exec {} __sandbox-helper'\n",
        env!("CARGO_BIN_EXE_sandbox-helper")
    );
    fs::write(&helper, script).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let begin = |tier| {
        let image = image();
        let languages = code::present(&image.path);
        let config = Config {
            image,
            languages,
            slots: 1,
            tier,
            residents: 0,
            id_block: 0,
            egress: None,
            image_checks: NO_CHECKS,
            rotation: Rotation::default(),
        };
        Sandbox::start(spawn_helper_of(&helper).unwrap(), config)
    };
    match begin(TierChoice::Exactly(Tier::Jail)) {
        Err(SandboxError::Refused(why)) => {
            assert!(why.contains("`jail` was asked for and this host gives `jail-no-cgroup`"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    let sandbox = begin(TierChoice::Strongest).unwrap();
    assert_eq!(sandbox.run(python("1")).unwrap().enforced.tier, Tier::JailNoCgroup);
}

#[test]
fn without_cgroups_memory_cannot_be_held_where_nobody_looks() {
    let sandbox = start(image(), TierChoice::Exactly(Tier::JailNoCgroup), 2);
    let hidden =
        "import os\ntry: os.memfd_create('x'); made = True\nexcept OSError as e: made = e.errno\nmade";
    assert_eq!(value_in(&sandbox, hidden), "38");
    let mapped = "import mmap, time\nm = mmap.mmap(-1, 300 << 20)\nfor at in range(0, 300 << 20, 4096): m[at] = 1\ntime.sleep(30)";
    let run = sandbox.run(with_limits(python(mapped), |limits| limits.memory_bytes = 64 << 20)).unwrap();
    assert_eq!(run.verdict, Verdict::Limit(LimitKind::OutOfMemory), "{}", told(&run));
}

/// Starts this program as an ordinary user, in a part of its own, which must pass.
fn as_user(part: &str, test: &str) {
    // Somewhere an ordinary user may go, whatever the folder of this checkout allows.
    let folder = tempfile::Builder::new().prefix("execgate-user-").tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let helper = folder.path().join("sandbox-helper");
    fs::copy(env!("CARGO_BIN_EXE_sandbox-helper"), &helper).unwrap();
    #[expect(clippy::disallowed_methods, reason = "another user's process is what is under test")]
    let mut user = Command::new("setpriv")
        .args(["--reuid=4242", "--regid=4242", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"])
        .arg(&program)
        .args(["--exact", test, "--nocapture"])
        .env(PART, part)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let image = image();
    let said = format!("{}\n{}\n{}\n", image.path.display(), image.digest, helper.display());
    user.stdin.take().unwrap().write_all(said.as_bytes()).unwrap();
    let output = user.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
}

/// What the user was told: how to start a sandbox of a tier.
fn told_of() -> impl Fn(TierChoice) -> Result<Sandbox, SandboxError> {
    let mut lines = std::io::stdin().lock().lines().map(Result::unwrap);
    let mut next = || lines.next().unwrap();
    let image = ImageRoot { path: next().into(), digest: next() };
    let helper = next();
    move |tier| {
        let languages = code::present(&image.path);
        let config = Config {
            image: image.clone(),
            languages,
            slots: 2,
            tier,
            residents: 0,
            id_block: 0,
            egress: None,
            image_checks: NO_CHECKS,
            rotation: Rotation::default(),
        };
        Sandbox::start(spawn_helper_of(Path::new(&helper)).unwrap(), config)
    }
}

#[test]
fn an_ordinary_user_runs_code_in_the_tier_that_says_so() {
    as_user("ordinary user", "suite::tiers::as_an_ordinary_user");
}

#[test]
fn attacks_are_held_where_a_guest_is_the_operators_own_user_too() {
    as_user("attacked user", "suite::tiers::as_an_attacked_user");
}

/// The part of the user as whom `attacks_are_held_where_a_guest_is_the_operators_own_user_too` starts this program.
#[test]
fn as_an_attacked_user() {
    if !plays("attacked user") {
        return;
    }
    let sandbox = told_of()(TierChoice::Exactly(Tier::JailSingleUid)).unwrap();
    assert_eq!(sandbox.enforced().cgroup, "none");
    // The owner of a file may change its mode by any descriptor of it, and the guest is that user.
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "content").unwrap();
    let mut request = python("import os, sys\nos.fchmod(0, 0o666); os.utime(0, (1, 1)); sys.stdin.read()");
    request.stdin = Stdin::Inherit(fs::File::open(file.path()).unwrap().into());
    assert_eq!(sandbox.run(request).unwrap().value.as_deref(), Some("'content'"));
    let about = file.path().metadata().unwrap();
    assert!(
        about.permissions().mode() & 0o777 == 0o600
            && about.modified().unwrap().elapsed().unwrap() < PATIENCE
    );
    for list in ALL {
        is_held(list, &sandbox);
    }
}

/// The part of the user as whom `an_ordinary_user_runs_code_in_the_tier_that_says_so` starts this program.
#[test]
fn as_an_ordinary_user() {
    if !plays("ordinary user") {
        return;
    }
    let begin = told_of();
    let refused = begin(TierChoice::Exactly(Tier::Jail));
    assert!(matches!(refused, Err(SandboxError::Refused(_))), "{refused:?}");
    let sandbox = begin(TierChoice::Strongest).unwrap();
    let enforced = sandbox.enforced();
    assert_eq!((enforced.tier, enforced.cgroup.as_str()), (Tier::JailSingleUid, "none"));
    assert_eq!(value_in(&sandbox, REFUSED), "(-1, 1, False, '0000000000000000')");
    assert_eq!(
        value_in(&sandbox, "import os; os.getuid(), os.getpid(), os.listdir('/home/user')"),
        "(1000, 2, [])"
    );
    assert_eq!(sandbox.run(bash("echo hi; exit 3")).unwrap().verdict, Verdict::Exit(3));
    let fill = with_limits(bash("cat /dev/zero > /tmp/x"), |limits| limits.disk_bytes = 8 << 20);
    assert_eq!(sandbox.run(fill).unwrap().verdict, Verdict::Limit(LimitKind::DiskFull));
    let stem = stem_of(&sandbox);
    assert_eq!(descendants(sandbox.helper_pid()), [stem].into());
    kill(sandbox.helper_pid());
    until_recovered(&sandbox, 1);
    assert_eq!(value_in(&sandbox, "import os; os.getuid()"), "1000");
    assert_eq!(sandbox.enforced(), enforced);
}
