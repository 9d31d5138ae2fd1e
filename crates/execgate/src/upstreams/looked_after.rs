//! The declared servers of a gateway, each with who connects it. None is connected yet.

use std::path::Path;
use std::sync::Arc;

use execgate_tool::Profiles;
use execgate_tool::upstream::{Upstream, UpstreamParts, Upstreams};

use super::{Book, digester};
use crate::config::Declared;

/// The servers, in these sandboxes where they are in one.
pub(crate) fn looked_after(
    declared: &[Declared],
    profiles: Option<&Profiles>,
    data_dir: &Path,
) -> anyhow::Result<Upstreams> {
    let book = Arc::new(Book::of(data_dir));
    let mut all = Vec::new();
    for one in declared {
        let parts = UpstreamParts {
            name: one.name.clone(),
            connect: one.connect(profiles, book.clone(), data_dir)?,
            book: book.clone(),
            digester,
            first: one.first,
            call_within: one.call_within,
            sharing: one.sharing,
            asks: one.asks.clone(),
        };
        all.push(Arc::new(Upstream::new(parts)));
    }
    Ok(Upstreams::new(all))
}
