//! Whose change of the policy file counts while it is in force.
//!
//! A gateway's file is its operator's. A process that an agent's own client has started may run as that agent: who could
//! write the file then could rewrite the rules that bind it, in the middle of a session.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use execgate_receipt::{Timestamp, VerifyingKey};
use rustix::fs::Mode;
use rustix::process::{Uid, geteuid, getuid};

use super::signature;

/// A policy file that is to be in force.
#[derive(Debug, Clone)]
pub(crate) struct PolicyFile {
    pub(crate) path: PathBuf,
    pub(crate) changes: PolicyChanges,
    /// The server whose tools it names by their own names.
    pub(crate) server: Option<String>,
}

impl PolicyFile {
    /// A gateway's.
    pub(crate) fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), changes: PolicyChanges::default(), server: None }
    }
}

/// Whose change counts.
#[derive(Debug, Clone, Default)]
pub(crate) enum PolicyChanges {
    /// Anybody's who can write the file.
    #[default]
    OfTheFile,
    /// That of somebody whom these users are not, and whose file they cannot have written or replaced.
    OfOthersThan(Vec<Uid>),
    /// That of whoever has one of these keys. The file with which a process starts is signed, too.
    Signed(Vec<VerifyingKey>),
}

impl PolicyChanges {
    /// Those of others than the user who has started this process. To be asked before it becomes another one.
    pub(crate) fn of_others_than_us() -> Self {
        Self::OfOthersThan(vec![getuid(), geteuid()])
    }

    /// Whether a process may start with this file.
    pub(super) fn allow_start(&self, path: &Path, bytes: &[u8]) -> anyhow::Result<Voucher> {
        Ok(match self {
            Self::OfTheFile => Voucher::Nobody,
            Self::OfOthersThan(users) => {
                Voucher::Place(out_of_reach(path, users).map_err(|error| error.to_string()))
            }
            Self::Signed(keys) => Voucher::Signature(signature::verify(path, bytes, keys)?),
        })
    }

    /// Whether these bytes may take the place of what is in force, for which `since` vouches.
    pub(super) fn allow(&self, path: &Path, bytes: &[u8], since: &Voucher) -> anyhow::Result<Voucher> {
        match self {
            Self::OfTheFile => Ok(Voucher::Nobody),
            Self::OfOthersThan(users) => {
                // What was in reach once may have been given away since (`chown` into a user namespace), to look as if it was not.
                let Voucher::Place(Ok(before)) = since else {
                    let why = if let Voucher::Place(Err(why)) = since { why } else { "" };
                    bail!("at the start it could be changed by whoever has started this: {why}");
                };
                let now = out_of_reach(path, users)?;
                if now != *before {
                    bail!("a folder above it is another one than at the start");
                }
                Ok(Voucher::Place(Ok(now)))
            }
            Self::Signed(keys) => {
                let signed = signature::verify(path, bytes, keys)?;
                if matches!(since, Voucher::Signature(since) if signed < *since) {
                    bail!("its signature is older than that of the policy in force");
                }
                Ok(Voucher::Signature(signed))
            }
        }
    }
}

/// Who vouches for what is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Voucher {
    /// Nobody is asked to.
    Nobody,
    /// The place where the file lies: the folders above it, or why it was in reach at the start.
    Place(Result<Vec<FolderId>, String>),
    /// Whoever signed it, at that time.
    Signature(Timestamp),
}

/// A folder, by its file system and its number there.
type FolderId = (u64, u64);

/// The folders above the file at a canonical path, if none of these users can have written or replaced it: neither it nor
/// one of them is theirs, or can be written by others than its owner. In a folder with the sticky bit only owners replace.
fn out_of_reach(path: &Path, users: &[Uid]) -> anyhow::Result<Vec<FolderId>> {
    let mut folders = Vec::new();
    if users.iter().any(|user| user.is_root()) {
        bail!(
            "this was started as root, who can write every file; a signature tells whose a change is (--policy-key)"
        );
    }
    for place in path.ancestors() {
        let shown = place.display();
        let metadata = fs::symlink_metadata(place).with_context(|| format!("failed to look at {shown}"))?;
        if metadata.is_symlink() {
            bail!("{shown} leads elsewhere since the start");
        }
        if users.contains(&Uid::from_raw(metadata.uid())) {
            bail!(
                "{shown} belongs to the user that started this, who may be the agent that the rules are for"
            );
        }
        let mode = Mode::from_raw_mode(metadata.mode());
        let others = mode.intersects(Mode::WGRP | Mode::WOTH);
        if others && !(metadata.is_dir() && mode.contains(Mode::SVTX)) {
            bail!("{shown} can be written by others than its owner");
        }
        if metadata.is_dir() {
            folders.push((metadata.dev(), metadata.ino()));
        }
    }
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use execgate_model::UnixMs;
    use execgate_receipt::{SigningKey, Timestamp};
    use rustix::process::{Uid, geteuid};

    use super::super::signature::{sign, signature_of};
    use super::{PolicyChanges, Voucher, out_of_reach};

    const FIRST: &[u8] = b"{\"version\": \"1\", \"default\": \"deny\"}";
    const SECOND: &[u8] = b"{\"version\": \"1\", \"default\": \"allow\"}";

    fn at(seconds: u64) -> Timestamp {
        Timestamp::new(UnixMs(seconds * 1_000)).unwrap()
    }

    #[test]
    fn a_signed_policy_is_replaced_by_a_later_one_of_the_same_key_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.json");
        let (ours, other) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
        let changes = PolicyChanges::Signed(vec![ours.verifying_key()]);
        let put = |bytes: &[u8], second: u64, key: &SigningKey| {
            fs::write(signature_of(&path), sign(bytes, at(second), key).unwrap()).unwrap();
        };
        let first = Voucher::Signature(at(5));
        let refusal = |bytes: &[u8]| format!("{:#}", changes.allow(&path, bytes, &first).unwrap_err());
        assert!(format!("{:#}", changes.allow_start(&path, FIRST).unwrap_err()).contains("no signature"));
        put(FIRST, 5, &ours);
        assert_eq!(changes.allow_start(&path, FIRST).unwrap(), first);
        // The signature of the first is none of the second.
        assert!(refusal(SECOND).contains("of another policy"));
        put(SECOND, 6, &other);
        assert!(refusal(SECOND).contains("not among the trusted keys"));
        put(SECOND, 4, &ours);
        assert!(refusal(SECOND).contains("older"));
        put(SECOND, 6, &ours);
        assert_eq!(changes.allow(&path, SECOND, &first).unwrap(), Voucher::Signature(at(6)));
        fs::write(signature_of(&path), "{}").unwrap();
        assert!(refusal(SECOND).contains("is no signature"));
    }

    #[test]
    fn what_was_in_reach_at_the_start_is_in_reach_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(folder.path()).unwrap().join("policy.json");
        fs::write(&path, FIRST).unwrap();
        let unlike = PolicyChanges::OfOthersThan(vec![Uid::from_raw(geteuid().as_raw() + 1)]);
        let since = unlike.allow_start(&path, FIRST).unwrap();
        assert_eq!(unlike.allow(&path, SECOND, &since).unwrap(), since);
        // Another folder of the same name.
        let moved = path.with_file_name("moved");
        fs::create_dir(&moved).unwrap();
        let (inner, aside) = (moved.join("policy.json"), path.with_file_name("aside"));
        fs::write(&inner, FIRST).unwrap();
        let since = unlike.allow_start(&inner, FIRST).unwrap();
        fs::rename(&moved, &aside).unwrap();
        fs::create_dir(&moved).unwrap();
        fs::write(&inner, SECOND).unwrap();
        let refused = unlike.allow(&inner, SECOND, &since).unwrap_err().to_string();
        assert!(refused.contains("another one than at the start"), "{refused}");
        // Given away since, and it was its owner's at the start.
        let ours = Voucher::Place(Err("it belongs to us".to_owned()));
        let refused = unlike.allow(&path, SECOND, &ours).unwrap_err().to_string();
        assert!(refused.contains("it belongs to us"), "{refused}");
    }

    #[test]
    fn a_file_of_ones_own_is_in_reach_wherever_it_lies_and_another_users_is_not() {
        // Nobody but root has written this file and its folder on a host of ours.
        let theirs = fs::canonicalize("/usr/bin/env").unwrap();
        out_of_reach(&theirs, &[Uid::from_raw(4_321)]).unwrap();
        let as_root = format!("{:#}", out_of_reach(&theirs, &[Uid::ROOT]).unwrap_err());
        assert!(as_root.contains("--policy-key"), "{as_root}");
        let folder = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(folder.path()).unwrap().join("policy.json");
        fs::write(&path, FIRST).unwrap();
        let owner = geteuid();
        let unlike = Uid::from_raw(owner.as_raw() + 1);
        if !owner.is_root() {
            assert!(format!("{:#}", out_of_reach(&path, &[owner]).unwrap_err()).contains("belongs to"));
        }
        // Another user's file in a folder of that user, below a sticky folder or one of root.
        out_of_reach(&path, &[unlike]).unwrap();
        let mut open = fs::metadata(&path).unwrap().permissions();
        open.set_mode(0o664);
        fs::set_permissions(&path, open).unwrap();
        assert!(format!("{:#}", out_of_reach(&path, &[unlike]).unwrap_err()).contains("can be written"));
        let link = path.with_file_name("link.json");
        symlink(&path, &link).unwrap();
        assert!(format!("{:#}", out_of_reach(&link, &[unlike]).unwrap_err()).contains("leads elsewhere"));
    }
}
