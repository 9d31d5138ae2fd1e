//! The gateway's own keys: files in its data directory, which its owner alone can read.

mod challenges;
pub(crate) mod file;
mod folder;
mod public;

pub(crate) use challenges::ChallengeSecrets;
pub(crate) use folder::KeyFolder;
pub(crate) use public::{Trusted, log_verifiers_path, public_key, public_path, published};
