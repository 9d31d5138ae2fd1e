//! The servers of a gateway, as the tools that they are by now.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::asking::Asking;
use super::reading::Reading;
use super::server::Upstream;
use super::tool::{UpstreamTool, What};
use super::words::ServerName;
use crate::Tool;
use crate::registry::Toolbox;

/// Every server, by its name.
#[derive(Clone, Default)]
pub struct Upstreams(Arc<BTreeMap<ServerName, Arc<Upstream>>>);

impl Upstreams {
    /// These servers; of two that have one name, the last.
    #[must_use]
    pub fn new(servers: impl IntoIterator<Item = Arc<Upstream>>) -> Self {
        let servers = servers.into_iter().map(|server| (server.name().clone(), server));
        Self(Arc::new(servers.collect()))
    }

    /// The server of a name.
    #[must_use]
    pub fn server(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.0.get(&ServerName::new(name).ok()?)
    }

    /// Whether an action is a tool of one of them that says which form its results have.
    #[must_use]
    pub fn has_form(&self, action: &str) -> bool {
        let tool = action.split_once('.').and_then(|(server, tool)| self.server(server)?.find(tool));
        tool.is_some_and(|entry| entry.has_form())
    }

    /// Every server, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.0.values()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Toolbox for Upstreams {
    fn find(&self, action: &str) -> Option<Arc<dyn Tool>> {
        // The name of a server has none, so that the first ends it.
        let (server, rest) = action.split_once('.')?;
        let server = self.server(server)?;
        let what = match (Reading::named(rest), Asking::of_action(rest)) {
            (Some(reading), _) => server.can(reading).then_some(What::Reading(reading))?,
            (None, Some(kind)) => server.asks().has(kind).then_some(What::Asked(kind))?,
            (None, None) => What::Tool(server.find(rest)?),
        };
        Some(Arc::new(UpstreamTool::of(Arc::clone(server), what)?))
    }
}
