//! `python`: how its interpreter is started, and the runner scripts that it starts with.

use super::definition::Scripts;

/// The TOML, the runner script, and what it compiles only when it is needed.
pub(super) const DEFINITION: (&str, Scripts) = (
    include_str!("language.toml"),
    Scripts { runner: include_str!("runner.py"), later: include_str!("later.py") },
);
