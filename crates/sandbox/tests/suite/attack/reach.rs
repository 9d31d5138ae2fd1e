//! What of the host, of its kernel and of others can be seen, reached or altered.

use std::path::Path;

use execgate_sandbox::image::{Image, Reads, Recipe};

use super::super::world::attacked;
use super::list::{REACH, is_held};

#[test]
fn nothing_beyond_the_run_is_seen_reached_or_altered() {
    is_held(REACH, &attacked());
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sandbox-images");
    let image = Image::ensure(&cache, &Recipe::host(), &mut |_| {}).unwrap();
    let verified = image.verify(Reads::Cached).unwrap();
    assert!(verified.is_intact(), "{:?}", verified.differences);
}
