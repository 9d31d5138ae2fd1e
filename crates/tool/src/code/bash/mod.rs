//! `bash`: how its interpreter is started, and the runner script that it starts with.

use super::definition::Scripts;

/// The TOML and the runner script.
pub(super) const DEFINITION: (&str, Scripts) = (
    include_str!("language.toml"),
    Scripts {
        runner: include_str!("runner.sh"),
        warm: include_str!("warm.sh"),
        session: "",
        later: "",
        about: include_str!("about.sh"),
    },
);
