//! What a run of code may ask for and answer, by the offer that it comes under (PRODUCT B).

use core::time::Duration;

use execgate_model::Offer;

const KIB: usize = 1 << 10;
const MIB: u64 = 1 << 20;

/// The longest standard input, in bytes.
pub(super) const STDIN_MAX: usize = 256 * KIB;

/// The most arguments.
pub(super) const ARGS_MAX: usize = 64;

/// The most files that come with a call, or go with its answer.
pub(super) const FILES_MAX: usize = 64;

/// All files of a call together, or of an answer, in bytes; one may have all of it. A body holds them as base64.
pub(super) const FILES_BYTES_MAX: usize = 4096 * KIB;

/// The most patterns of files to bring back.
pub(super) const PATTERNS_MAX: usize = 16;

/// The longest pattern, in bytes.
pub(super) const PATTERN_BYTES_MAX: usize = KIB;

/// All rich results of an answer together, in bytes.
pub(super) const RICH_BYTES_MAX: usize = 4096 * KIB;

/// The shortest deadline that may be asked for.
pub(super) const TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// The bounds of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// What they are the bounds of, in the words of an error.
    pub(super) of: &'static str,
    /// The longest code, in UTF-16 units, as its clients count.
    pub(super) code_max: usize,
    /// How much output is answered, in bytes over all fields.
    pub(super) output_max: usize,
    /// The deadline of a call that asks for none.
    pub(super) timeout_default: Duration,
    /// The longest deadline that may be asked for.
    pub(super) timeout_max: Duration,
    /// Memory, files in memory included.
    pub(super) memory_bytes: u64,
}

impl Bounds {
    /// The bounds of an offer, or of an action by itself.
    pub(super) const fn of(offer: Option<Offer>) -> Self {
        let small = Self {
            of: "code-run tier",
            code_max: 10_000,
            output_max: 256 * KIB,
            timeout_default: Duration::from_secs(30),
            timeout_max: Duration::from_secs(30),
            memory_bytes: 512 * MIB,
        };
        match offer {
            Some(Offer::CodeRun) => small,
            Some(Offer::CodeRunPro) => Self {
                of: "code-run-pro tier",
                code_max: 50_000,
                output_max: 1024 * KIB,
                timeout_default: Duration::from_mins(1),
                timeout_max: Duration::from_mins(1),
                memory_bytes: 1024 * MIB,
            },
            Some(Offer::CodeRunBasic) => {
                Self { of: "code/run tier", timeout_max: Duration::from_mins(5), ..small }
            }
            None => Self { of: "action", code_max: 50_000, timeout_max: Duration::from_mins(5), ..small },
        }
    }
}
