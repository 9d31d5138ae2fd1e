//! What of the host, of its kernel and of others can be seen, reached or altered.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::Path;

use execgate_sandbox::image::{Image, Reads, Recipe};
use execgate_sandbox::{Stdin, Verdict};

use super::super::world::{attacked, python, told};
use super::list::{REACH, is_held};

#[test]
fn nothing_beyond_the_run_is_seen_reached_or_altered() {
    is_held(REACH, &attacked());
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sandbox-images");
    let image = Image::ensure(&cache, &Recipe::host(), &mut |_| {}).unwrap();
    let verified = image.verify(Reads::Cached).unwrap();
    assert!(verified.is_intact(), "{:?}", verified.differences);
}

#[test]
fn what_the_caller_reads_from_is_read_and_not_held() {
    let sandbox = attacked();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"content").unwrap();
    file.rewind().unwrap();
    let code = "import os, stat, sys\nsys.stdin.read(), stat.S_ISFIFO(os.fstat(0).st_mode), os.readlink('/proc/self/fd/0')[:5]";
    for (stdin, expected) in
        [(file, "content"), (File::open("/dev/null").unwrap(), ""), (File::open("/").unwrap(), "")]
    {
        let mut request = python(code);
        request.stdin = Stdin::Inherit(stdin.into());
        let run = sandbox.run(request).unwrap();
        assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
        assert_eq!(run.value.unwrap(), format!("('{expected}', True, 'pipe:')"));
    }
}
