//! Processes that a test names: the stem, and this program in another part.

use execgate_sandbox::Sandbox;

use super::world::{PATIENCE, descendants};

/// The one process below the helper that stays when nothing runs.
pub(super) fn stem_of(sandbox: &Sandbox) -> i32 {
    sandbox.quiesce(PATIENCE).unwrap();
    let below = descendants(sandbox.helper_pid());
    assert_eq!(below.len(), 1, "only the stem lives when nothing runs");
    below.into_iter().next().unwrap()
}

/// Names the part that this program plays in a process of its own; the test that starts it sets it.
pub(super) const PART: &str = "EXECGATE_TEST_PART";

/// Whether this process was started to play a part. A part shows nothing by itself: its test looks at it.
pub(super) fn plays(part: &str) -> bool {
    #[expect(clippy::disallowed_methods, reason = "set by the test that starts this process")]
    std::env::var(PART).is_ok_and(|named| named == part)
}
