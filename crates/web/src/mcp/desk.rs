//! What a server of the protocol stands in front of: a list of tools, and a way to call one.

use std::future::ready;
use std::net::IpAddr;
use std::sync::Arc;

use execgate_model::{BodyPlace, BoxFuture, Caller, Digest, Watcher};
use execgate_tool::upstream::{Asking, Asks, Listing, Reading};
use rmcp::ErrorData;
use rmcp::model::{
    CallToolResponse, GetPromptRequestMethod, ListPromptsRequestMethod, ListResourceTemplatesRequestMethod,
    ListResourcesRequestMethod, ReadResourceRequestMethod, Tool,
};
use serde_json::{Map, Value};

use super::approval::Way;
use super::line::Line;
use super::listening::View;
use crate::house::House;

/// Who asks, and how it reached us.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    /// Who.
    pub(crate) caller: Caller,
    /// From which address, where a network is between.
    pub(crate) peer: Option<IpAddr>,
    /// Scheme, name and port under which it reaches this gateway; none over a pipe.
    pub(crate) origin: Option<String>,
}

/// One call of a tool, as it came.
#[derive(Debug)]
pub(crate) struct Call {
    /// Which tool.
    pub(crate) name: String,
    /// Its arguments.
    pub(crate) arguments: Map<String, Value>,
    /// What came beside them (`_meta`).
    pub(crate) meta: Map<String, Value>,
    /// How its caller is told that it goes on.
    pub(crate) line: Option<Line>,
    /// What it takes up in memory.
    pub(crate) place: BodyPlace,
    /// How its caller is told that it waits for people.
    pub(crate) way: Way,
    /// Who can be asked within it.
    pub(crate) asks: Watcher,
}

impl Call {
    /// Who sees how it goes on, and can be asked; none where nobody does either.
    pub(super) fn watcher(&self) -> Option<Watcher> {
        let sees = self.line.as_ref().map(Line::watcher);
        match self.asks.respondent() {
            Some(respondent) => Some(sees.unwrap_or_default().answering(Arc::clone(respondent))),
            None => sees,
        }
    }
}

/// A list of tools, and a way to call one.
pub(crate) trait Desk: Send + Sync + 'static {
    /// The server of others that it stands in front of; empty for this gateway's own tools.
    fn server(&self) -> &str {
        ""
    }

    /// What a model is told of the tools as a whole.
    fn instructions(&self) -> String;

    /// The tools that a caller may see, always in the same order.
    fn tools<'a>(&'a self, asker: &'a Asker) -> BoxFuture<'a, Result<Vec<Tool>, ErrorData>>;

    /// What names all that the lists which a caller sees now are made of: another list has another name. Asked for every second
    /// by each who listens.
    fn edition<'a>(&'a self, asker: &'a Asker) -> BoxFuture<'a, Result<Digest, ErrorData>>;

    /// Waits until it is known what there is, as far as that is soon: so that nobody is told of a change that is none.
    fn settled(&self) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }

    /// What a caller sees of it now. Asked for where the edition is another one.
    fn view<'a>(&'a self, asker: &'a Asker) -> BoxFuture<'a, Result<View, ErrorData>> {
        Box::pin(async move { self.edition(asker).await.map(View::of_tools) })
    }

    /// Calls one. Dropping this future is a caller that has hung up. What goes wrong with the call is a result that says so;
    /// only what no tool is, and a fault of the server, is an error of the protocol.
    fn call<'a>(&'a self, asker: &'a Asker, call: Call)
    -> BoxFuture<'a, Result<CallToolResponse, ErrorData>>;

    /// Whose record the tasks of its calls are in; none where it makes none.
    fn house(&self) -> Option<&House>;

    /// Whether there are resources, or prompts.
    fn has(&self, _reading: Reading) -> bool {
        false
    }

    /// What is listed beside tools, as far as a caller may see it.
    fn list<'a>(
        &'a self,
        _asker: &'a Asker,
        listing: Listing,
    ) -> BoxFuture<'a, Result<Vec<Value>, ErrorData>> {
        Box::pin(ready(Err(not_listed(listing))))
    }

    /// What its server may ask of clients within their calls.
    fn asks(&self) -> Asks {
        Asks::default()
    }

    /// Whether the rules let a client be asked this. An error is why not, for the server.
    fn allows<'a>(
        &'a self,
        _asker: &'a Asker,
        _kind: Asking,
        _params: &'a Value,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(ready(Err("nothing is asked here".to_owned())))
    }

    /// Has a resource or a prompt: a call whose arguments are the parameters of the request.
    fn read<'a>(
        &'a self,
        _asker: &'a Asker,
        reading: Reading,
        _call: Call,
    ) -> BoxFuture<'a, Result<Value, ErrorData>> {
        Box::pin(ready(Err(not_here(reading))))
    }
}

/// No list of what is not offered.
pub(super) fn not_listed(listing: Listing) -> ErrorData {
    match listing {
        Listing::Resources => ErrorData::method_not_found::<ListResourcesRequestMethod>(),
        Listing::Templates => ErrorData::method_not_found::<ListResourceTemplatesRequestMethod>(),
        Listing::Prompts => ErrorData::method_not_found::<ListPromptsRequestMethod>(),
    }
}

/// What is not offered is not there.
pub(super) fn not_here(reading: Reading) -> ErrorData {
    match reading {
        Reading::Resource => ErrorData::method_not_found::<ReadResourceRequestMethod>(),
        Reading::Prompt => ErrorData::method_not_found::<GetPromptRequestMethod>(),
    }
}
