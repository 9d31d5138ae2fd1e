//! What the gateway says of itself: `/`, `/health`, `/ready`, `/version`, `/openapi.json`.

mod about;

pub(crate) use about::{health, index, openapi, ready, version};
