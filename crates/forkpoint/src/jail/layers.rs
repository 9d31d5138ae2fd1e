//! The layers of a jail, in their only order. Reads as a recipe: one call, one line, one step name.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::process::Resource;

use super::init::{Network, Plan, Start};
use super::kernel::Kernel;
use super::landlock::Tcp;
use super::place;
use super::step::{At as _, Step, StepError};
use crate::stem::STEM_CAPABILITIES;
use crate::sys::{borrow, clone_flags};

/// Builds every layer that the init itself stands behind; afterwards it may fork the interpreter.
///
/// `descriptors` is what came with the message: [`place::COUNT`] to arrange, the socket to the proxy where there is to be
/// one, then cgroups to join.
pub(super) fn build<K: Kernel>(
    kernel: &K,
    plan: &Plan,
    mut descriptors: Vec<OwnedFd>,
) -> Result<(), StepError> {
    // Joined first: what is touched from here on is charged to the slot.
    let mut cgroups = descriptors.split_off(place::COUNT.min(descriptors.len()));
    let proxy = match plan.network {
        Network::Egress if !cgroups.is_empty() => Some(cgroups.remove(0)),
        Network::Egress | Network::Slot(_) | Network::Loopback => None,
    };
    for cgroup in &cgroups {
        kernel.join_cgroup(cgroup).at(Step::JoinCgroup)?;
    }
    if !cgroups.is_empty() {
        // After the join, so that the slot's own group is the root of what the guest can name.
        kernel.unshare(clone_flags::NEWCGROUP).at(Step::CgroupNamespace)?;
    }
    drop(cgroups);
    network(kernel, plan, proxy)?;
    kernel.arrange(descriptors).at(Step::ArrangeDescriptors)?;
    mounts(kernel)?;
    kernel.drop_bounding(STEM_CAPABILITIES).at(Step::DropBoundingSet)?;
    if plan.groups_can_be_dropped {
        kernel.drop_groups().at(Step::SetGroups)?;
    }
    kernel.set_gid(plan.guest_id).at(Step::SetGid)?;
    kernel.set_uid(plan.guest_id).at(Step::SetUid)?;
    kernel.clear_capabilities().at(Step::ClearCapabilities)?;
    // Both are cleared by a change of user id, so they come after it.
    kernel.die_with_parent().at(Step::DeathSignal)?;
    kernel.not_dumpable().at(Step::NotDumpable)?;
    kernel.no_new_privileges().at(Step::NoNewPrivileges)?;
    for (resource, value) in limits(plan) {
        kernel.limit(resource, value).at(Step::ResourceLimits)?;
    }
    // Last: nothing can be mounted afterwards.
    let tcp = match plan.network {
        Network::Slot(_) => Tcp::Forbidden,
        Network::Loopback | Network::Egress => Tcp::InNamespace,
    };
    kernel.landlock(plan.landlock_abi, tcp).at(Step::Landlock)
}

/// The namespace of the run, and what is up in it.
fn network<K: Kernel>(kernel: &K, plan: &Plan, proxy: Option<OwnedFd>) -> Result<(), StepError> {
    match plan.network {
        Network::Slot(namespace) => kernel.join_network(namespace).at(Step::JoinNetwork),
        Network::Loopback => kernel.raise_loopback().at(Step::RaiseLoopback),
        Network::Egress => {
            kernel.raise_loopback().at(Step::RaiseLoopback)?;
            let proxy = proxy.ok_or(io::ErrorKind::InvalidInput).at(Step::OpenProxy)?;
            let listener = kernel.listen_for_proxy().at(Step::OpenProxy)?;
            kernel.lend_to_proxy(&proxy, listener).at(Step::OpenProxy)
        }
    }
}

/// One superblock, three folders of it, and a fresh `/proc`.
fn mounts<K: Kernel>(kernel: &K) -> Result<(), StepError> {
    // Staged on /dev/shm, because the image is read-only and has no spare folder.
    kernel.attach(borrow(place::SCRATCH), c"/dev/shm").at(Step::AttachScratch)?;
    kernel.bind(c"/dev/shm/tmp", c"/tmp").at(Step::BindTmp)?;
    kernel.bind(c"/dev/shm/home", c"/home/user").at(Step::BindHome)?;
    let shm = kernel.clone_tree(c"/dev/shm/shm").at(Step::CloneShm)?;
    kernel.detach(c"/dev/shm").at(Step::DetachScratch)?;
    kernel.attach(shm.as_fd(), c"/dev/shm").at(Step::AttachShm)?;
    kernel.mount_proc(c"/proc").at(Step::GuestProc)
}

/// What a process of the guest may use, apart from what its cgroup counts.
fn limits(plan: &Plan) -> Vec<(Resource, u64)> {
    const STACK_BYTES: u64 = 8 << 20;
    const SIGNALS_PENDING: u64 = 1024;
    let mut limits = vec![
        // 0 would not stop a core handler that reads from a pipe.
        (Resource::Core, 1),
        (Resource::Nofile, u64::from(plan.spawn.descriptors)),
        (Resource::Nproc, u64::from(plan.spawn.user_processes)),
        (Resource::Fsize, plan.spawn.file_bytes),
        (Resource::Memlock, 0),
        (Resource::Msgqueue, 0),
        (Resource::Sigpending, SIGNALS_PENDING),
        (Resource::Nice, 0),
        (Resource::Rtprio, 0),
        (Resource::Stack, STACK_BYTES),
    ];
    if let Some(bytes) = plan.spawn.data_bytes {
        limits.push((Resource::Data, bytes));
    }
    limits
}

/// What the interpreter's process does between fork and exec. Returns only what failed.
pub(super) fn enter_guest<K: Kernel>(
    kernel: &K,
    plan: &Plan,
    argv: &[CString],
    environment: &[CString],
) -> StepError {
    let prepared = (|| {
        own_process(kernel)?;
        kernel.reset_signals().at(Step::Signals)?;
        kernel.close_on_exec_from(inherited(plan)).at(Step::CloseOnExec)?;
        kernel.seccomp(plan.filter).at(Step::Seccomp)
    })();
    match prepared {
        Ok(()) => StepError { step: Step::Exec, error: kernel.exec(argv, environment) },
        Err(error) => error,
    }
}

/// Which descriptors reach an interpreter that is executed. One that waits has its socket and the library, and puts the
/// run's in their places later.
fn inherited(plan: &Plan) -> u32 {
    match plan.program.start {
        Start::Waiting { .. } => (place::LIBRARY + 1).cast_unsigned(),
        Start::Exec { .. } | Start::Resident => plan.program.inherited,
    }
}

/// What a resident's process does after the fork: the same, but that it keeps what it does at signals, and that nothing
/// is open afterwards but its socket and the empty standard streams.
pub(super) fn enter_resident<K: Kernel>(kernel: &K, plan: &Plan) -> Result<(), StepError> {
    own_process(kernel)?;
    kernel.restore_children().at(Step::Signals)?;
    // As an exec does: to itself and its own children it is no secret, and to nobody else is it there.
    kernel.dumpable().at(Step::NotDumpable)?;
    kernel.seccomp(plan.filter).at(Step::Seccomp)?;
    // Last, because it says that all before it has worked.
    kernel.close_from(place::HAND_OUT + 1).at(Step::CloseOnExec)
}

fn own_process<K: Kernel>(kernel: &K) -> Result<(), StepError> {
    kernel.new_session().at(Step::Session)?;
    kernel.enter(c"/home/user").at(Step::WorkingDirectory)
}
