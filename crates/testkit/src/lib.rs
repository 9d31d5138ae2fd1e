//! The worlds that tests are run in. Nobody imports this but tests.
//!
//! A [`World`] is a whole gateway in process: its record is a real SQLite file, and all that a gateway cannot
//! control is a double that a test scripts ([`Bank`], [`Bench`], [`ScriptedIam`], [`ManualClock`]). What happened
//! outside stands in the [`Journal`], which no crash touches. A [`Gate`] is one process of a world and can die at a
//! named point ([`Gate::die_at`]).
//!
//! Doubles say `expect` where a test could do no better than stop.

pub mod approval;
mod ask;
mod batches;
pub mod chain;
mod clock;
pub mod facilitator;
mod gate;
mod grants;
mod history;
mod http;
mod journal;
mod languages;
mod life;
pub mod mint;
mod mortal;
mod onlooker;
mod outside;
mod people;
mod rail;
mod tokens;
mod tools;
mod turns;
mod upstream;
mod walked;
pub mod wallet;
mod world;

pub use ask::{Ask, ask};
pub use clock::{Dice, ManualClock, SeededEntropy};
pub use gate::{Gate, LOG_ORIGIN, OPERATOR_UID};
pub use grants::{change, holder};
pub use history::{History, books};
pub use http::{
    CODE_ROUTES, Live, LiveEvent, Reply, TOOL_ROUTES, execute, get, keyed, live, piecewise, post, with,
};
pub use journal::{Event, Journal};
pub use life::{Death, Life, StoreFault};
pub use onlooker::Onlooker;
pub use outside::Shelf;
pub use rail::{AUTHORIZED, AuthorizedRail, Bank, Look, Move, RAIL_POINTS, SCRIPTED};
pub use tools::Bench;
pub use turns::{Turns, until_idle};
pub use upstream::Upstream;
pub use walked::Walked;
pub(crate) use world::Shared;
pub use world::{ScriptedIam, ScriptedSpace, Settings, World, WorldBuilder, temporary_folder};
