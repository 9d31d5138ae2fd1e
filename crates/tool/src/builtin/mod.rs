//! The built-in tools, one file or folder each. A new one is that and a line here.

mod add;
mod data_filter;
mod echo;
mod file_write;
mod hash_generate;
mod http_get;
mod json_parse;
mod math_compute;
mod mock_api_call;
mod regex_match;
mod schema_validate;
mod sql_write;
mod string_transform;
mod timestamp_parse;

pub use crate::outbound::HttpClient;
pub use file_write::FileWrite;
pub use sql_write::{BadDatabase, Database, SqlWrite};

use crate::Tool;
use crate::compute::{Computation, Computer, Workers};

/// What the built-in tools are made with.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Who computes what can only be ended from outside.
    pub workers: Workers,
    /// Who fetches.
    pub client: HttpClient,
}

/// Every tool that only computes.
pub(crate) const COMPUTATIONS: [&Computation; 8] = [
    &data_filter::COMPUTATION,
    &hash_generate::COMPUTATION,
    &json_parse::COMPUTATION,
    &math_compute::COMPUTATION,
    &regex_match::COMPUTATION,
    &schema_validate::COMPUTATION,
    &string_transform::COMPUTATION,
    &timestamp_parse::COMPUTATION,
];

/// Every built-in tool.
#[must_use]
pub fn all(parts: &Parts) -> Vec<Box<dyn Tool>> {
    let computer = |computation| Box::new(Computer { computation, workers: parts.workers.clone() }) as _;
    let others: [Box<dyn Tool>; 4] = [
        Box::new(add::Add),
        Box::new(echo::Echo),
        Box::new(http_get::HttpGet { client: parts.client.clone() }),
        Box::new(mock_api_call::MockApiCall),
    ];
    COMPUTATIONS.map(computer).into_iter().chain(others).collect()
}
