//! Secrets of the operator, from files and variables. They are read once, at the start, and no error tells one.
//!
//! Every process that the gateway starts has an empty environment, so that a variable reaches none of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use execgate_tool::{Secret, Secrets};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::geteuid;
use zeroize::Zeroizing;

use super::Environment;
use super::file::SecretSection;

/// The longest file of a secret, in bytes: more than a secret and its line end may have.
const FILE_BYTES_MAX: u64 = 8 << 10;

/// Reads every secret.
pub(super) fn read(sections: &BTreeMap<String, SecretSection>) -> anyhow::Result<Secrets> {
    let one = |(name, section): (&String, &SecretSection)| {
        let what = || format!("the section [secrets.{name}] is wrong");
        let text = match (&section.file, &section.env) {
            (Some(path), None) => of_file(path).with_context(what)?,
            (None, Some(variable)) => Environment::secret(variable)
                // Its name is not told: it may be the secret itself, in the wrong place.
                .context("the variable that `env` names is not set, or is no text")
                .with_context(what)?,
            (Some(_), Some(_)) | (None, None) => bail!("{}: it has either `file` or `env`", what()),
        };
        Secret::new(name, text).with_context(what)
    };
    sections.iter().map(one).collect()
}

/// What a file holds that nobody but its owner, which is root or this user, can read.
pub(crate) fn of_file(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let shown = path.display();
    if !path.is_absolute() {
        bail!("{shown} is no absolute path");
    }
    // A FIFO must not hold the start up.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = open(path, flags, Mode::empty()).with_context(|| format!("failed to open {shown}"))?;
    let file = File::from(file);
    let metadata = file.metadata().with_context(|| format!("failed to look at {shown}"))?;
    if !metadata.is_file() {
        bail!("{shown} is no regular file");
    }
    if metadata.mode() & 0o077 != 0 {
        bail!("{shown} can be read by others; chmod 600 mends it");
    }
    if metadata.uid() != 0 && metadata.uid() != geteuid().as_raw() {
        bail!("{shown} is neither root's nor this user's");
    }
    let mut text = Zeroizing::new(String::new());
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    read.with_context(|| format!("failed to read {shown} as text"))?;
    if u64::try_from(text.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
        bail!("{shown} has more than {FILE_BYTES_MAX} bytes");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::read;
    use crate::config::file::File;

    #[test]
    fn a_file_that_others_can_read_is_refused_and_never_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "the secret itself\n").unwrap();
        let text = format!("[secrets.K]\nfile = \"{}\"\n", path.display());
        let file: File = toml::from_str(&text).unwrap();
        let with_mode = |mode: u32| {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            read(&file.secrets).map_err(|error| format!("{error:#}"))
        };
        for mode in [0o644, 0o640, 0o604] {
            let told = with_mode(mode).unwrap_err();
            assert!(told.contains("read by others") && !told.contains("itself"), "{told}");
        }
        assert!(with_mode(0o600).unwrap().find("K").is_some());
        fs::write(&path, "short").unwrap();
        let told = with_mode(0o600).unwrap_err();
        assert!(told.contains("8 to 4096 bytes") && !told.contains("short"), "{told}");
        fs::write(&path, "x".repeat(9000)).unwrap();
        assert!(with_mode(0o600).is_err());
    }

    #[test]
    fn a_secret_has_one_place() {
        for text in [
            "[secrets.K]\n",
            "[secrets.K]\nfile = \"/a\"\nenv = \"B\"\n",
            "[secrets.K]\nfile = \"relative\"\n",
            "[secrets.K]\nfile = \"/dev/null/none\"\n",
            "[secrets.K]\nfile = \"/dev/null\"\n",
            "[secrets.K]\nenv = \"EXECGATE_TEST_NO_SUCH_VARIABLE\"\n",
        ] {
            let file: File = toml::from_str(text).unwrap();
            assert!(read(&file.secrets).is_err(), "{text}");
        }
        assert!(toml::from_str::<File>("[secrets.K]\nvalue = \"x\"\n").is_err());
    }
}
