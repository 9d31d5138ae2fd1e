//! What holds of a configuration file, whatever is in it. A fuzz target and a property test call it.

use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, memfd_create};

use super::settings::{Flags, Settings};
use super::{Environment, TierSetting};

/// A file that is taken never opens the gateway to others by itself, and keeps the bounds of what it sets.
pub(crate) fn configuration(bytes: &[u8]) {
    let Ok(file) = memfd_create("configuration", MemfdFlags::CLOEXEC) else {
        unreachable!("memory is there")
    };
    assert_eq!(rustix::io::write(&file, bytes), Ok(bytes.len()));
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let flags = Flags { config: Some(path), ..Flags::default() };
    let Ok(settings) = Settings::resolve(&flags, &Environment::default(), true) else { return };
    let is_meant = (contains(bytes, b"free") && contains(bytes, b"true")) || contains(bytes, b"wallet");
    assert!(settings.listen.ip().is_loopback() || is_meant);
    assert!((1..=64).contains(&settings.slots) && settings.connections > 0);
    assert!(settings.tier == TierSetting::Auto || contains(bytes, b"tier"));
    assert!(
        settings.profiles.len() <= 16 && settings.profiles.iter().all(|profile| profile.name != "default")
    );
    assert!(settings.hosts.iter().all(|host| !host.contains(|letter: char| letter.is_ascii_uppercase())));
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
#[path = "../../../../fuzz/near.rs"]
mod near;

#[cfg(test)]
mod tests {
    use super::{configuration, near};

    #[test]
    fn a_configuration_file_opens_nothing_by_itself() {
        near::holds("configuration", configuration);
    }
}
