//! `javascript`: how its interpreter is started, the runner script that it starts with, what it
//! does before its run, and what tells its packages.

use super::definition::Scripts;

/// The TOML, the runner script, and the code that tells version and packages.
pub(super) const DEFINITION: (&str, Scripts) = (
    include_str!("language.toml"),
    Scripts {
        runner: include_str!("runner.js"),
        warm: include_str!("rehearsal.js"),
        session: include_str!("session.js"),
        later: "",
        about: include_str!("about.js"),
    },
);
