//! What Python loads of this library: [`module`] is what its scripts import; [`arenas`] and [`text`] lay its objects and its
//! code so that a fork has few pages to copy and to fault in.

mod arenas;
mod module;
mod text;
