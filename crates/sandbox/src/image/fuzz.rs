//! What holds of the files that an image is made from and described by, whatever is in them. Read on in
//! [`crate::fuzz`].

use std::str;

use super::dpkg::Database;
use super::manifest::{MANIFEST_VERSION, Manifest, digest_of};
use super::package_files::parse_alternative;

/// What is selected is installed, wanted or needed, and never what is left out. Names are taken from the text itself.
pub fn dpkg_status(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let database = Database::parse(text);
    let installed = database.records();
    let mut wanted: Vec<String> = installed.iter().map(|package| package.name.clone()).collect();
    let left_out: Vec<String> = wanted.iter().step_by(3).cloned().collect();
    wanted.push("no-such-package".to_owned());
    let selection = database.select(&wanted, &left_out);
    assert!(selection.packages.keys().all(|name| !left_out.iter().any(|out| out == name)));
    assert!(selection.packages.values().all(|package| installed.contains(&package.record())));
    assert!(selection.absent.iter().all(|name| wanted.contains(name) && !database.has(name)));
}

/// Each candidate has a place for each link at most, whatever a file of the alternatives system says.
pub fn alternatives(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Some(read) = parse_alternative("name", text) {
        assert!(!read.links.is_empty());
        assert!(read.candidates.iter().all(|paths| (1..=read.links.len()).contains(&paths.len())));
    }
}

/// A manifest is taken only under the digest of its own entries, and then reads back what it writes.
pub fn image_manifest(bytes: &[u8]) {
    let Ok(mut manifest) = serde_json::from_slice::<Manifest>(bytes) else { return };
    let digest = digest_of(&manifest.entries);
    let taken = Manifest::parse(&manifest.digest, bytes);
    assert_eq!(taken.is_ok(), manifest.digest == digest && manifest.version == MANIFEST_VERSION);
    manifest.digest.clone_from(&digest);
    manifest.version = MANIFEST_VERSION;
    let written = serde_json::to_vec(&manifest).unwrap_or_default();
    assert_eq!(Manifest::parse(&digest, &written).ok(), Some(manifest));
}

#[cfg(test)]
mod tests {
    use super::{alternatives, dpkg_status, image_manifest};
    use crate::fuzz::near;

    #[test]
    fn a_selection_holds_what_is_installed_and_not_left_out() {
        near::holds("dpkg_status", dpkg_status);
    }

    #[test]
    fn a_candidate_has_no_more_places_than_there_are_links() {
        near::holds("alternatives", alternatives);
    }

    #[test]
    fn a_manifest_is_taken_under_its_own_digest_only() {
        near::holds("image_manifest", image_manifest);
    }
}
