//! Where a process may die: the points that the rooms name for tests.

/// Every crash point, in the order of a run. A test holds this list against the sources, and dies at each.
pub const CRASH_POINTS: &[&str] = &[
    // The intent is durable, and nothing has started.
    "claimed", // The handler has ended, and nothing says so yet.
    "ran",     // The receipt is signed, and not durable.
    "sealed",  // The outcome is durable, and no money has moved.
    "recorded",
    // A second payment is claimed for a run whose first one failed, and not captured.
    "repaid", // The money has moved, and the record does not say so.
    "moved",  // All of it is durable, and nobody has been answered.
    "settled",
];
