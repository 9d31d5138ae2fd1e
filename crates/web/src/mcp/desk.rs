//! What a server of the protocol stands in front of: a list of tools, and a way to call one.

use std::net::IpAddr;

use execgate_model::{BodyPlace, BoxFuture, Caller};
use rmcp::ErrorData;
use rmcp::model::{CallToolResponse, Tool};
use serde_json::{Map, Value};

use super::approval::Way;
use super::line::Line;
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
}

/// A list of tools, and a way to call one.
pub(crate) trait Desk: Send + Sync + 'static {
    /// What a model is told of the tools as a whole.
    fn instructions(&self) -> String;

    /// The tools that a caller may see, always in the same order.
    fn tools<'a>(&'a self, asker: &'a Asker) -> BoxFuture<'a, Result<Vec<Tool>, ErrorData>>;

    /// Calls one. Dropping this future is a caller that has hung up. What goes wrong with the call is a result that says so;
    /// only what no tool is, and a fault of the server, is an error of the protocol.
    fn call<'a>(&'a self, asker: &'a Asker, call: Call)
    -> BoxFuture<'a, Result<CallToolResponse, ErrorData>>;

    /// Whose record the tasks of its calls are in; none where it makes none.
    fn house(&self) -> Option<&House>;
}
