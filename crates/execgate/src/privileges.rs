//! Dropping root. Sole boundary between the server and root's rights. Every change here needs a second reader.
//!
//! Credentials belong to threads in Linux; this runs while there is one thread, and all later threads inherit.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::Path;

use anyhow::{Context as _, bail};
use rustix::process::{Gid, Uid, geteuid, getgid, getuid};
use rustix::thread::{set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// The uid that the server takes where no user is named and there is no `execgate` user: above what systemd
/// gives to containers and to dynamic users, and beside the range of the jail.
const FREE_UID: u32 = 0x6fff_fff0;

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

    /// Makes a folder and everything in it this account's own.
    pub(crate) fn own(self, folder: &Path) -> anyhow::Result<()> {
        let what = || format!("failed to give {} to the server's user", folder.display());
        let metadata = fs::symlink_metadata(folder).with_context(what)?;
        if metadata.uid() != self.uid || metadata.gid() != self.gid {
            lchown(folder, Some(self.uid), Some(self.gid)).with_context(what)?;
        }
        if metadata.is_dir() {
            for entry in fs::read_dir(folder).with_context(what)? {
                self.own(&entry.with_context(what)?.path())?;
            }
        }
        Ok(())
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
    use super::{Account, find};

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nexecgate:x:998:997::/nonexistent:/bin/false\n";
        assert_eq!(find(passwd, "execgate"), Some(Account { uid: 998, gid: 997 }));
        assert_eq!(find(passwd, "exec"), None);
    }
}
