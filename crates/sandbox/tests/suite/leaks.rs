//! Many runs, one after the other and at once, leave things as they were.

use std::fs;
use std::path::PathBuf;

use execgate_sandbox::Verdict;

use super::census::{census, groups_of};
use super::parts::stem_of;
use super::world::{bash, counted, python, sandbox, start_as, told, value_in};

/// The groups of a helper that somebody lives in.
pub(super) fn groups_in_use(helper: i32) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points =
        mounts.lines().filter(|line| line.contains(" - cgroup")).map(|line| line.split(' ').nth(4).unwrap());
    let bases = points.map(|point| PathBuf::from(point).join(format!("execgate-{helper}")));
    let slots =
        bases.filter_map(|base| fs::read_dir(base).ok()).flatten().flatten().map(|entry| entry.path());
    slots.filter(|slot| fs::read(slot.join("cgroup.procs")).is_ok_and(|procs| !procs.is_empty())).collect()
}

/// As many runs as a sandbox takes at a time. What takes longer is in `cargo xtask soak leaks`.
const AT_ONCE: usize = 64;

// The next two count the descriptors of their process, so each needs one of its own, which nextest gives.

#[test]
fn three_hundred_runs_one_after_the_other_leak_nothing() {
    let sandbox = counted(&["bash"]);
    assert_eq!(sandbox.run(bash("echo x > /tmp/x")).unwrap().verdict, Verdict::Value);
    let before = census(&sandbox);
    for number in 0..300 {
        let run = sandbox.run(bash(&format!("sleep 60 & echo {number} | tee /tmp/x"))).unwrap();
        assert_eq!((run.verdict, run.stdout), (Verdict::Value, format!("{number}\n").into_bytes()));
    }
    assert_eq!(census(&sandbox), before);
}

#[test]
fn the_helper_and_its_stem_do_not_grow() {
    let sandbox = sandbox();
    let rounds = |rounds: usize| {
        for _ in 0..rounds {
            assert_eq!(sandbox.run(bash("echo x > /tmp/x")).unwrap().verdict, Verdict::Value);
        }
    };
    rounds(100);
    let pids = [sandbox.helper_pid(), stem_of(&sandbox)];
    let before = pids.map(resident_kib);
    rounds(200);
    for (pid, before) in pids.into_iter().zip(before) {
        let after = resident_kib(pid);
        assert!(after <= before + 128, "{before} KiB and then {after} KiB");
    }
}

fn resident_kib(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn sixty_four_runs_at_once_do_not_mix_and_leak_nothing() {
    let sandbox = start_as(|config| (config.slots, config.residents) = (AT_ONCE, config.residents.min(1)));
    let round = |rounds: usize| {
        std::thread::scope(|scope| {
            for lane in 0..AT_ONCE {
                let sandbox = &sandbox;
                scope.spawn(move || {
                    for number in 0..rounds {
                        let code = format!(
                            "print({lane}); open('/tmp/x', 'x').write('y'); {lane} * 1000 + {number}"
                        );
                        let run = sandbox.run(python(&code)).unwrap();
                        assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
                        assert_eq!(run.value, Some((lane * 1000 + number).to_string()));
                        assert_eq!(run.stdout, format!("{lane}\n").into_bytes());
                    }
                });
            }
        });
    };
    round(1);
    let before = census(&sandbox);
    round(2);
    assert_eq!(census(&sandbox), before);
    assert_eq!(value_in(&sandbox, "1"), "1");
}

#[test]
fn a_sandbox_that_is_dropped_leaves_no_group_and_no_process() {
    let sandbox = sandbox();
    assert_eq!(value_in(&sandbox, "1"), "1");
    let helper = sandbox.helper_pid();
    assert!(groups_of(helper) > 0);
    drop(sandbox);
    assert_eq!((groups_of(helper), fs::exists(format!("/proc/{helper}")).unwrap()), (0, false));
}
