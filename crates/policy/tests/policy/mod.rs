//! One file a subject.

mod ask;
mod decisions;
mod limits;
mod loading;
mod properties;
