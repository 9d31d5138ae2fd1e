//! What Node loads of this library: [`module`] is what its scripts see; [`fit`] makes a Node one that can be forked, or
//! finds that it cannot; [`afresh`] gives a fork what it must not share: its event loop, its randomness.

mod afresh;
mod event_loop;
mod fit;
mod module;
mod random;
mod workers;
