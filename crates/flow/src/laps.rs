//! How long a run spent in each room, for the `Server-Timing` header and the demo.

use std::sync::Arc;

use execgate_model::Clock;

use crate::Room;

/// A stop-watch with a lap per room.
#[derive(Clone)]
pub(crate) struct Laps {
    clock: Arc<dyn Clock>,
    last_us: u64,
    laps: Vec<(Room, u64)>,
}

impl Laps {
    /// Starts the watch.
    pub(crate) fn start(clock: Arc<dyn Clock>) -> Self {
        let last_us = clock.monotonic_us();
        Self { clock, last_us, laps: Vec::with_capacity(7) }
    }

    /// Says that the room is left now.
    pub(crate) fn lap(&mut self, room: Room) {
        let now = self.clock.monotonic_us();
        self.laps.push((room, now.saturating_sub(self.last_us)));
        self.last_us = now;
    }

    /// Says that the time since the last room was no room's.
    pub(crate) fn resume(&mut self) {
        self.last_us = self.clock.monotonic_us();
    }

    /// Says that the room after the last one is left unfinished.
    pub(crate) fn rest(&mut self) {
        let room = self.laps.last().map_or(Room::Propose, |(room, _)| room.next());
        self.lap(room);
    }

    /// The rooms in the order in which they were left, with microseconds.
    pub(crate) fn into_laps(self) -> Vec<(Room, u64)> {
        self.laps
    }
}
