//! Dropping root. Sole boundary between the server and root's rights. Every change here needs a second reader.
//!
//! Credentials belong to threads in Linux; this runs while there is one thread, and all later threads inherit.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::Path;

use anyhow::{Context as _, bail};
use rustix::process::{Gid, Uid, getegid, geteuid, getgid, getgroups, getuid};
use rustix::thread::{set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// The uid that the server takes where no user is named and there is no `execgate` user: in the range that
/// systemd leaves unused (0x70000000 to 0x7ffdffff), right behind the range of the jail's guests.
const FREE_UID: u32 = 0x7001_0000;

/// What a data directory of ours holds, any one of them.
const OUR_FILES: [&str; 3] = ["execgate.db", "keys", "instances"];

/// The system user that is taken if there is one.
const DEFAULT_USER: &str = "execgate";

/// Whom the server runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
}

impl core::fmt::Display for Account {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "uid {}", self.uid)
    }
}

impl Account {
    /// Whom the server should run as: nobody else if we are not root.
    pub(crate) fn choose(user: Option<&str>) -> anyhow::Result<Option<Self>> {
        if !geteuid().is_root() {
            return match user {
                Some(user) => bail!("--user {user} needs root"),
                None => Ok(None),
            };
        }
        let passwd = fs::read_to_string("/etc/passwd").context("failed to read /etc/passwd")?;
        let account = match user {
            Some(name) => find(&passwd, name).with_context(|| format!("there is no user `{name}`"))?,
            None => find(&passwd, DEFAULT_USER).unwrap_or(Self { uid: FREE_UID, gid: FREE_UID }),
        };
        if account.uid == 0 {
            bail!("the server does not run as root; name another user by --user");
        }
        Ok(Some(account))
    }

    /// Makes a data directory of root's this account's own. One that is this account's already is left as it
    /// is: root never walks through a folder that somebody else can change under it.
    pub(crate) fn own(self, folder: &Path) -> anyhow::Result<()> {
        let what = || format!("failed to look at {}", folder.display());
        let metadata = fs::symlink_metadata(folder).with_context(what)?;
        if metadata.uid() == self.uid && metadata.is_dir() {
            return Ok(());
        }
        if metadata.uid() != 0 || !metadata.is_dir() || metadata.mode() & 0o022 != 0 {
            bail!("the data directory {} is not root's alone, nor the server's ({self})", folder.display());
        }
        let names: Vec<_> =
            fs::read_dir(folder).with_context(what)?.flatten().map(|e| e.file_name()).collect();
        if !names.is_empty() && !names.iter().any(|name| OUR_FILES.iter().any(|ours| name == ours)) {
            bail!("{} is not empty and is no data directory of execgate; name another", folder.display());
        }
        self.take(folder)
    }

    /// Takes what is root's, the inner first; what is somebody else's is left alone and not entered.
    fn take(self, path: &Path) -> anyhow::Result<()> {
        let what = || format!("failed to give {} to the server's user", path.display());
        let metadata = fs::symlink_metadata(path).with_context(what)?;
        if metadata.uid() != 0 {
            return Ok(());
        }
        if metadata.is_dir() {
            for entry in fs::read_dir(path).with_context(what)? {
                self.take(&entry.with_context(what)?.path())?;
            }
        }
        lchown(path, Some(self.uid), Some(self.gid)).with_context(what)
    }

    /// Becomes this account for good. No thread may have been started.
    pub(crate) fn become_now(self) -> anyhow::Result<()> {
        let threads = fs::read_dir("/proc/self/task").context("failed to count the threads")?.count();
        if threads != 1 {
            bail!("root can be dropped by a single thread only, and there are {threads}");
        }
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        set_thread_groups(&[]).context("failed to drop the groups")?;
        set_thread_res_gid(gid, gid, gid).context("failed to drop the group")?;
        set_thread_res_uid(uid, uid, uid).context("failed to drop the user")?;
        set_no_new_privs(true).context("failed to forbid new privileges")?;
        if getuid() != uid
            || geteuid() != uid
            || getgid() != gid
            || set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).is_ok()
        {
            bail!("root could not be dropped");
        }
        Ok(())
    }
}

/// Root that has stepped aside for a while.
pub(crate) struct Aside {
    groups: Vec<Gid>,
}

impl Account {
    /// Acts as this account until [`Aside::step_back`]: for a command whose user wants files written in the end,
    /// and that looks at a guest's bytes before. What the server does for good, this does for the meantime.
    pub(crate) fn step_aside(self) -> anyhow::Result<Aside> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let groups = getgroups().context("failed to read the groups")?;
        // The real and the saved ids stay, by which it comes back. The user is last: it has no right to the rest.
        set_thread_groups(&[]).context("failed to step aside from the groups")?;
        set_thread_res_gid(Gid::ROOT, gid, Gid::ROOT).context("failed to step aside from root's group")?;
        set_thread_res_uid(Uid::ROOT, uid, Uid::ROOT).context("failed to step aside from root")?;
        if geteuid() != uid || getegid() != gid || !getgroups().is_ok_and(|groups| groups.is_empty()) {
            bail!("root could not be put aside");
        }
        Ok(Aside { groups })
    }
}

impl Aside {
    /// Is root again.
    pub(crate) fn step_back(self) -> anyhow::Result<()> {
        set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).context("failed to be root again")?;
        set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).context("failed to be in root's group again")?;
        set_thread_groups(&self.groups).context("failed to be in the groups again")
    }
}

/// If root looks into somebody's data directory, it does so as its owner: a file of root's in there would lock
/// the server out.
pub(crate) fn become_owner_of(folder: &Path) -> anyhow::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let metadata = fs::metadata(folder).with_context(|| format!("failed to look at {}", folder.display()))?;
    if metadata.uid() == 0 {
        return Ok(());
    }
    Account { uid: metadata.uid(), gid: metadata.gid() }.become_now()
}

fn find(passwd: &str, name: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then_some(())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Account { uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use std::thread;

    use rustix::process::{Gid, Uid, getegid, geteuid, getgroups};
    use rustix::thread::set_thread_groups;

    use super::{Account, find};

    #[test]
    fn root_that_steps_aside_leaves_its_groups_too_and_takes_them_back() {
        let nobody = Account { uid: 4_000, gid: 4_001 };
        if !geteuid().is_root() {
            assert!(nobody.step_aside().is_err());
            return;
        }
        // Credentials belong to threads, and this one ends.
        let stepped = thread::spawn(move || {
            let groups = [Gid::ROOT, Gid::from_raw(7)];
            set_thread_groups(&groups).unwrap();
            let aside = nobody.step_aside().unwrap();
            let during = (geteuid().as_raw(), getegid().as_raw(), getgroups().unwrap());
            aside.step_back().unwrap();
            assert_eq!((geteuid(), getegid(), getgroups().unwrap()), (Uid::ROOT, Gid::ROOT, groups.to_vec()));
            during
        });
        assert_eq!(stepped.join().unwrap(), (4_000, 4_001, Vec::new()));
    }

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nexecgate:x:998:997::/nonexistent:/bin/false\n";
        assert_eq!(find(passwd, "execgate"), Some(Account { uid: 998, gid: 997 }));
        assert_eq!(find(passwd, "exec"), None);
    }
}
