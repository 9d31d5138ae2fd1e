//! Which user ids guests have, and how the helper becomes root of a user namespace where it is not root already.
//! Never maps a guest to an id that a person or a service may have.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::Command;

use rustix::process::{getegid, geteuid, getpid};

use execgate_forkpoint::jail::GUEST_ID_FIRST;
use execgate_forkpoint::stem::SlotIds;
use execgate_forkpoint::sys::{self, Cloned, clone_flags};

/// First host id of guests where the helper is root: outside the ranges that people, services, subordinate ids,
/// `systemd-nspawn` (0x80000 to 0x6FFFFFFF) and dynamic users get.
const HOST_RANGE_FIRST: u32 = 0x7000_0000;

/// How many ids are mapped.
const RANGE_COUNT: u32 = 0x1_0000;

/// How far apart the blocks of two sandboxes lie; between them are ids of the server itself.
const BLOCK_STRIDE: u32 = 0x2_0000;

/// The same where there are only as many ids as a user has subordinate ones.
const SUBORDINATE_BLOCK: u32 = 0x1000;

/// The first host id of a block.
fn first_of(block: u8) -> u32 {
    HOST_RANGE_FIRST.saturating_add(u32::from(block).saturating_mul(BLOCK_STRIDE))
}

/// How ids of the stem's user namespace map to the helper's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IdMap {
    pub(super) inside: u32,
    pub(super) outside: u32,
    pub(super) count: u32,
    pub(super) ids: SlotIds,
    /// The id of proxies, which is no guest's; none where there is none to be had.
    pub(super) proxies: Option<u32>,
}

impl IdMap {
    fn range(outside: u32, count: u32) -> Self {
        // One of the stem's, of which no guest has one. The server may have the first behind them.
        let proxies = Some(outside.saturating_add(GUEST_ID_FIRST - 1));
        Self { inside: 0, outside, count, ids: SlotIds::Own, proxies }
    }

    fn single(outside: u32) -> Self {
        Self { inside: GUEST_ID_FIRST, outside, count: 1, ids: SlotIds::Shared, proxies: None }
    }

    /// The id that the stem takes inside.
    pub(super) fn stem_id(&self) -> u32 {
        self.inside
    }

    /// A slot's guest id, as the helper sees it.
    pub(super) fn guest_outside(&self, slot: u32) -> u32 {
        match self.ids {
            SlotIds::Own => self.outside.saturating_add(GUEST_ID_FIRST).saturating_add(slot),
            SlotIds::Shared => self.outside,
        }
    }

    /// Whether this many slots have an id each.
    pub(super) fn has_room_for(&self, slots: usize) -> bool {
        let slots = u32::try_from(slots).unwrap_or(u32::MAX);
        self.ids == SlotIds::Shared || GUEST_ID_FIRST.saturating_add(slots) <= self.count
    }

    /// The line for `uid_map` and `gid_map`.
    pub(super) fn line(&self) -> String {
        format!("{} {} {}", self.inside, self.outside, self.count)
    }
}

/// Whether a map of its own for each slot is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A range if this host has one, a single id otherwise.
    Best,
    /// A single id.
    Single,
}

/// Makes the helper root of a user namespace, unless it is root already, and says how guests map into it.
pub(super) fn settle(wanted: Wanted, block: u8) -> io::Result<IdMap> {
    if geteuid().is_root() {
        return Ok(match (wanted, host_range_is_mapped()) {
            (Wanted::Best, true) => IdMap::range(first_of(block), RANGE_COUNT),
            (Wanted::Single, true) => {
                let range = IdMap::range(first_of(block), RANGE_COUNT);
                IdMap { proxies: range.proxies, ..IdMap::single(range.guest_outside(0)) }
            }
            (Wanted::Best | Wanted::Single, false) => IdMap::single(0),
        });
    }
    // Asked for now: where the tools refuse, we are in a namespace already, and nobody there.
    let own = (geteuid().as_raw(), getegid().as_raw());
    if wanted == Wanted::Best
        && let Some(count) = enter_with_subordinate_ids()?
    {
        let skipped = u32::from(block).saturating_mul(SUBORDINATE_BLOCK);
        let left = count.saturating_sub(skipped);
        // Those of the first block may be all that there are; no other reaches into the next.
        let own =
            if block == 0 && count < 2 * SUBORDINATE_BLOCK { left } else { left.min(SUBORDINATE_BLOCK) };
        return Ok(IdMap::range(skipped.saturating_add(1), own));
    }
    enter_with_single_id(own)?;
    Ok(IdMap::single(0))
}

/// Inside a container, root may have fewer ids than the host.
fn host_range_is_mapped() -> bool {
    let Ok(map) = fs::read_to_string("/proc/self/uid_map") else { return false };
    let last = u64::from(first_of(u8::MAX)) + u64::from(RANGE_COUNT);
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().filter_map(|n| n.parse::<u64>().ok());
        let (Some(inside), Some(_), Some(count)) = (numbers.next(), numbers.next(), numbers.next()) else {
            return false;
        };
        inside <= u64::from(HOST_RANGE_FIRST) && inside.saturating_add(count) >= last
    })
}

fn enter_with_single_id((uid, gid): (u32, u32)) -> io::Result<()> {
    if !in_own_namespace() {
        sys::unshare(clone_flags::NEWUSER)?;
    }
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// Whether an unshare has happened whose maps could not be written.
fn in_own_namespace() -> bool {
    fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| map.trim().is_empty())
}

/// Maps ourselves to 0 and our subordinate ids behind it. `None` where there are none or the tools refuse.
fn enter_with_subordinate_ids() -> io::Result<Option<u32>> {
    let tools = ["newuidmap", "newgidmap"].map(|tool| format!("/usr/bin/{tool}"));
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let (Some(uids), Some(gids)) = (subordinate("/etc/subuid", uid), subordinate("/etc/subgid", uid)) else {
        return Ok(None);
    };
    if !tools.iter().all(|tool| Path::new(tool).exists()) {
        return Ok(None);
    }
    let count = uids.1.min(gids.1).min(RANGE_COUNT);
    let us = getpid().as_raw_pid().to_string();
    let (mut go_read, mut go_write) = io::pipe()?;
    let (mut done_read, mut done_write) = io::pipe()?;
    // The tools must run outside the new namespace, so a child stays behind.
    match sys::fork()? {
        Cloned::Child => {
            drop((go_write, done_read));
            let told = go_read.read_exact(&mut [0]).is_ok();
            let worked = told
                && [(&tools[0], uid, uids.0), (&tools[1], gid, gids.0)].into_iter().all(
                    |(tool, own, first)| {
                        let numbers = [0, own, 1, 1, first, count].map(|number| number.to_string());
                        #[expect(
                            clippy::disallowed_methods,
                            reason = "the only tools that may write such a map"
                        )]
                        let status = Command::new(tool).env_clear().arg(&us).args(numbers).status();
                        status.is_ok_and(|status| status.success())
                    },
                );
            let answered = done_write.write_all(&[u8::from(worked)]).is_ok();
            sys::exit_now(i32::from(!answered))
        }
        Cloned::Parent { .. } => {
            drop((go_read, done_write));
            sys::unshare(clone_flags::NEWUSER)?;
            go_write.write_all(&[1])?;
            let mut worked = [0];
            done_read.read_exact(&mut worked)?;
            sys::wait_any()?;
            Ok((worked == [1]).then_some(count))
        }
    }
}

/// First id and count of the first range that belongs to a user, by number or name.
fn subordinate(file: &str, uid: u32) -> Option<(u32, u32)> {
    let name = fs::read_to_string("/etc/passwd").ok().and_then(|text| {
        text.lines().find_map(|line| {
            let mut parts = line.split(':');
            let name = parts.next()?;
            (parts.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
        })
    });
    range_of(&fs::read_to_string(file).ok()?, uid, name.as_deref())
}

fn range_of(text: &str, uid: u32, name: Option<&str>) -> Option<(u32, u32)> {
    text.lines().find_map(|line| {
        let mut parts = line.trim().split(':');
        let owner = parts.next()?;
        let range = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        (Some(owner) == name || owner.parse() == Ok(uid)).then_some(range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subordinate_range_is_found_by_number_or_name() {
        let text = "ann:100000:65536\n1001:165536:65536\n";
        assert_eq!(range_of(text, 1000, Some("ann")), Some((100_000, 65_536)));
        assert_eq!(range_of(text, 1001, None), Some((165_536, 65_536)));
        assert_eq!(range_of(text, 1002, Some("bob")), None);
    }

    #[test]
    fn guests_of_root_live_in_the_unprivileged_range() {
        let map = IdMap::range(HOST_RANGE_FIRST, RANGE_COUNT);
        assert_eq!(map.guest_outside(3), 0x7000_0000 + 1003);
        assert!(map.has_room_for(1024));
        assert!(!map.has_room_for(65_000));
    }
}
