//! One file a subject.

mod ask;
mod decisions;
mod grants;
mod limits;
mod loading;
mod properties;
