//! Where a process may die: the points that the rooms name for tests.

/// Every crash point, in the order of a run. A test holds this list against the sources, and dies at each.
///
/// | point | what is so there |
/// | --- | --- |
/// | `claimed` | the intent is durable, and nothing has started |
/// | `taken` | money was taken before the work, and the record does not say so |
/// | `prepaid` | the record says so, and nothing has started |
/// | `ran` | the handler has ended, and nothing says so yet |
/// | `sealed` | the receipt is signed, and not durable |
/// | `recorded` | the outcome is durable, and no money has moved |
/// | `repaid` | a second payment is claimed for a run whose first one failed, and not captured |
/// | `moved` | the money has moved, and the record does not say so |
/// | `late` | a payment that had failed has moved, and the record says so |
/// | `settled` | all of it is durable, and nobody has been answered |
pub const CRASH_POINTS: &[&str] =
    &["claimed", "taken", "prepaid", "ran", "sealed", "recorded", "repaid", "moved", "late", "settled"];

/// The points beside them, on the way into `parked` and out of it; a test dies at each of these too.
///
/// | point | what is so there |
/// | --- | --- |
/// | `parked` | the run waits, and nobody has been told |
/// | `voted` | what a person said is durable, and nothing follows from it yet |
/// | `refused` | the run is ended, and nobody has been told |
pub const PARKING_POINTS: &[&str] = &["parked", "voted", "refused"];
