//! `bash`: how its interpreter is started, and the runner script that it starts with.

/// The TOML and the runner script.
pub(super) const DEFINITION: (&str, &str) = (include_str!("language.toml"), include_str!("runner.sh"));
