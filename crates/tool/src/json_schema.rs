//! JSON Schemas that fetch nothing, and whose patterns are linear.

use core::error::Error;

use jsonschema::{PatternOptions, Retrieve, Uri, ValidationError, Validator};
use serde_json::Value;

use crate::arguments::shown;

/// The longest message of an error, in characters; the library's hold the data.
pub(crate) const MESSAGE_MAX: usize = 300;

/// A compiled pattern of the schema, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Answers every reference to another document with no.
struct Nothing;

impl Retrieve for Nothing {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn Error + Send + Sync>> {
        let uri = shown(uri.as_str());
        Err(format!("`{uri}` is remote; a schema may only refer to itself, and nothing is fetched").into())
    }
}

/// What checks by a schema, or what is wrong with the schema.
pub(crate) fn validator(schema: &Value) -> Result<Validator, String> {
    let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
    let options = jsonschema::options().with_retriever(Nothing).with_pattern_options(patterns);
    options.build(schema).map_err(|error| bad_schema(&error))
}

fn bad_schema(error: &ValidationError<'_>) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !told.contains(&text) {
            told = format!("{told}: {text}");
        }
        cause = error.source();
    }
    let place = error.instance_path().as_str();
    format!("the schema is wrong at `{}`: {}", shown(place), cut(&told))
}

/// A message as far as it is shown.
pub(crate) fn cut(text: &str) -> String {
    if text.chars().nth(MESSAGE_MAX).is_none() {
        return text.to_owned();
    }
    text.chars().take(MESSAGE_MAX).chain(['…']).collect()
}
