//! `r`: how its interpreter is started, and the runner scripts that it starts with.

use super::definition::Scripts;

/// The TOML, the runner script, what it reads only when it is needed, and the code that tells the packages.
pub(super) const DEFINITION: (&str, Scripts) = (
    include_str!("language.toml"),
    Scripts {
        runner: include_str!("runner.R"),
        warm: include_str!("warm.R"),
        session: include_str!("session.R"),
        later: include_str!("later.R"),
        about: include_str!("about.R"),
    },
);
