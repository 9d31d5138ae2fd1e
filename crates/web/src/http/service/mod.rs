//! What the gateway says of itself: `/`, `/health`, `/ready`, `/version`, `/openapi.json`, and as a protected resource.

mod about;
mod resource;

pub(crate) use about::{health, index, openapi, ready, version};
pub(crate) use resource::{METADATA, METADATA_MCP, METADATA_UPSTREAM, resource, resource_path};
