//! What Node loads of this library: [`module`] is what its scripts see; [`fit`] makes a Node one that can be forked, or
//! finds that it cannot; [`outputs`] lets it make its streams beforehand; [`afresh`] gives a fork what it must not share: its event loop, its randomness;
//! [`waiting`] is how one that is a session's waits for its runs, [`copying`] how it is copied.

mod afresh;
mod copying;
mod event_loop;
mod fit;
mod module;
mod outputs;
mod random;
mod waiting;
mod workers;
