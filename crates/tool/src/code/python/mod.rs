//! `python`: how its interpreter is started, and the runner scripts that it starts with.

use super::definition::Scripts;

/// The TOML, the runner script, and what it compiles only when it is needed: of the two parts, which a form feed
/// parts, an exception needs the first and rich results the second. The code that tells the packages.
pub(super) const DEFINITION: (&str, Scripts) = (
    include_str!("language.toml"),
    Scripts {
        runner: include_str!("runner.py"),
        warm: include_str!("warm.py"),
        session: include_str!("session.py"),
        later: concat!(include_str!("later.py"), "\x0c", include_str!("rich.py")),
        about: include_str!("about.py"),
    },
);
