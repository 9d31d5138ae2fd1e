//! The order of the layers, recorded without privileges (SANDBOX.md "Jail").

use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd, RawFd};

use rustix::process::Resource;
use rustix::thread::CapabilitySet;

use super::init::{Network, Plan, Program, Start};
use super::kernel::Kernel;
use super::landlock::Tcp;
use super::layers;
use super::place;
use crate::sys::{CloneFlags, Cloned, SockFilter};
use crate::wire::{NetworkProfile, Spawn};

/// Writes down what is asked of the kernel, and lets all of it succeed.
#[derive(Default)]
struct Recorder(RefCell<Vec<String>>);

impl Recorder {
    fn note(&self, call: impl Into<String>) -> io::Result<()> {
        self.0.borrow_mut().push(call.into());
        Ok(())
    }
}

fn null() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}

impl Kernel for Recorder {
    fn join_cgroup(&self, _procs: &OwnedFd) -> io::Result<()> {
        self.note("join cgroup")
    }
    fn join_network(&self, _network: BorrowedFd<'_>) -> io::Result<()> {
        self.note("network namespace")
    }
    fn raise_loopback(&self) -> io::Result<()> {
        self.note("loopback up")
    }
    fn listen_for_proxy(&self) -> io::Result<OwnedFd> {
        self.note("listen").map(|()| null())
    }
    fn lend_to_proxy(&self, _proxy: &OwnedFd, _listener: OwnedFd) -> io::Result<()> {
        self.note("lend the listener")
    }
    fn unshare(&self, _flags: CloneFlags) -> io::Result<()> {
        self.note("cgroup namespace")
    }
    fn arrange(&self, wanted: Vec<OwnedFd>) -> io::Result<()> {
        self.note(format!("close all but {}", wanted.len()))
    }
    fn attach(&self, _tree: BorrowedFd<'_>, to: &CStr) -> io::Result<()> {
        self.note(format!("mount {}", to.to_str().unwrap()))
    }
    fn bind(&self, _from: &CStr, to: &CStr) -> io::Result<()> {
        self.note(format!("bind {}", to.to_str().unwrap()))
    }
    fn clone_tree(&self, path: &CStr) -> io::Result<OwnedFd> {
        self.note(format!("clone {}", path.to_str().unwrap())).map(|()| null())
    }
    fn detach(&self, path: &CStr) -> io::Result<()> {
        self.note(format!("detach {}", path.to_str().unwrap()))
    }
    fn mount_proc(&self, to: &CStr) -> io::Result<()> {
        self.note(format!("proc {}", to.to_str().unwrap()))
    }
    fn drop_bounding(&self, _capabilities: CapabilitySet) -> io::Result<()> {
        self.note("drop bounding set")
    }
    fn drop_groups(&self) -> io::Result<()> {
        self.note("setgroups")
    }
    fn set_gid(&self, id: u32) -> io::Result<()> {
        self.note(format!("setresgid {id}"))
    }
    fn set_uid(&self, id: u32) -> io::Result<()> {
        self.note(format!("setresuid {id}"))
    }
    fn clear_capabilities(&self) -> io::Result<()> {
        self.note("clear capabilities")
    }
    fn die_with_parent(&self) -> io::Result<()> {
        self.note("death signal")
    }
    fn not_dumpable(&self) -> io::Result<()> {
        self.note("not dumpable")
    }
    fn dumpable(&self) -> io::Result<()> {
        self.note("dumpable")
    }
    fn no_new_privileges(&self) -> io::Result<()> {
        self.note("no new privileges")
    }
    fn limit(&self, resource: Resource, value: u64) -> io::Result<()> {
        if matches!(resource, Resource::Core) {
            return self.note(format!("rlimits from core={value}"));
        }
        Ok(())
    }
    fn landlock(&self, abi: u32, tcp: Tcp) -> io::Result<()> {
        self.note(format!("landlock {abi}, TCP {tcp:?}"))
    }
    fn fork(&self) -> io::Result<Cloned> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn new_session(&self) -> io::Result<()> {
        self.note("setsid")
    }
    fn reset_signals(&self) -> io::Result<()> {
        self.note("reset signals")
    }
    fn wait_for_children(&self) -> io::Result<()> {
        self.note("default SIGCHLD")
    }
    fn restore_children(&self) -> io::Result<()> {
        self.note("own SIGCHLD")
    }
    fn enter(&self, folder: &CStr) -> io::Result<()> {
        self.note(format!("cd {}", folder.to_str().unwrap()))
    }
    fn close_on_exec_from(&self, first: u32) -> io::Result<()> {
        self.note(format!("close on exec from {first}"))
    }
    fn close_from(&self, first: RawFd) -> io::Result<()> {
        self.note(format!("close from {first}"))
    }
    fn seccomp(&self, _filter: &[SockFilter]) -> io::Result<()> {
        self.note("seccomp")
    }
    fn exec(&self, argv: &[CString], _environment: &[CString]) -> io::Error {
        self.0.borrow_mut().push(format!("exec {}", argv[0].to_str().unwrap()));
        io::ErrorKind::NotFound.into()
    }
}

fn program() -> Program {
    Program { start: Start::Resident, inherited: 5 }
}

fn plan<'a>(program: &'a Program, network: &'a OwnedFd) -> Plan<'a> {
    let spawn = Spawn {
        run: 1,
        slot: 2,
        language: 0,
        descriptors: 256,
        file_bytes: 1,
        user_processes: 64,
        data_bytes: None,
        is_awaited: false,
        network: NetworkProfile::None,
    };
    Plan {
        spawn,
        program,
        filter: &[],
        landlock_abi: 7,
        guest_id: 1002,
        network: Network::Slot(network.as_fd()),
        environment: &[],
        groups_can_be_dropped: true,
    }
}

#[test]
fn the_layers_of_a_jail_come_in_their_only_order() {
    let recorder = Recorder::default();
    let program = program();
    let descriptors: Vec<_> = (0..place::COUNT + 2).map(|_| null()).collect();
    layers::build(&recorder, &plan(&program, &null()), descriptors).unwrap();
    let expected = [
        "join cgroup",
        "join cgroup",
        "cgroup namespace",
        "network namespace",
        "close all but 8",
        "mount /dev/shm",
        "bind /tmp",
        "bind /home/user",
        "clone /dev/shm/shm",
        "detach /dev/shm",
        "mount /dev/shm",
        "proc /proc",
        "drop bounding set",
        "setgroups",
        "setresgid 1002",
        "setresuid 1002",
        "clear capabilities",
        "death signal",
        "not dumpable",
        "no new privileges",
        "rlimits from core=1",
        "landlock 7, TCP Forbidden",
    ];
    assert_eq!(recorder.0.into_inner(), expected);
}

#[test]
fn a_network_of_its_own_is_up_and_its_proxy_stands_before_any_right_is_dropped() {
    let (program, slot) = (program(), null());
    let built = |network, extra: usize| {
        let recorder = Recorder::default();
        let descriptors: Vec<_> = (0..place::COUNT + extra).map(|_| null()).collect();
        let built = layers::build(&recorder, &Plan { network, ..plan(&program, &slot) }, descriptors);
        (built.map_err(|failed| failed.step), recorder.0.into_inner())
    };
    let (done, calls) = built(Network::Loopback, 1);
    assert_eq!(done, Ok(()));
    assert_eq!(calls[..4], ["join cgroup", "cgroup namespace", "loopback up", "close all but 8"]);
    assert_eq!(calls.last().unwrap(), "landlock 7, TCP InNamespace");
    let (done, calls) = built(Network::Egress, 2);
    assert_eq!(done, Ok(()));
    let expected =
        ["join cgroup", "cgroup namespace", "loopback up", "listen", "lend the listener", "close all but 8"];
    assert_eq!(calls[..6], expected);
    assert_eq!(built(Network::Egress, 0).0, Err(super::Step::OpenProxy), "none goes on without its proxy");
}

#[test]
fn the_filter_is_the_last_thing_before_the_interpreter() {
    let recorder = Recorder::default();
    let program = program();
    let failed =
        layers::enter_guest(&recorder, &plan(&program, &null()), &[c"/usr/bin/true".to_owned()], &[]);
    assert_eq!(failed.step, super::Step::Exec);
    let expected =
        ["setsid", "cd /home/user", "reset signals", "close on exec from 5", "seccomp", "exec /usr/bin/true"];
    assert_eq!(recorder.0.into_inner(), expected);
}

#[test]
fn an_interpreter_that_waits_has_its_socket_and_the_library() {
    let recorder = Recorder::default();
    let start = Start::Waiting { argv: Vec::new(), environment: Vec::new() };
    let program = Program { start, inherited: 4 };
    layers::enter_guest(&recorder, &plan(&program, &null()), &[c"/usr/bin/true".to_owned()], &[]);
    assert!(recorder.0.into_inner().contains(&"close on exec from 5".to_owned()));
}

#[test]
fn nothing_is_open_to_a_resident_but_its_socket_once_the_filter_is_on() {
    let recorder = Recorder::default();
    layers::enter_resident(&recorder, &plan(&program(), &null())).unwrap();
    let expected = ["setsid", "cd /home/user", "own SIGCHLD", "dumpable", "seccomp", "close from 4"];
    assert_eq!(recorder.0.into_inner(), expected);
}
