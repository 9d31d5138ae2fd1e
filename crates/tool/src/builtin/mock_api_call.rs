//! `mock_api_call`: what a call of an API might answer. It only simulates.

use execgate_model::Effect;
use serde_json::json;

use crate::arguments::Arguments;
use crate::pure::Computed;
use crate::{BadCall, Call, Description, Prepared, Tool};

const EXAMPLE: &str = r#"{"url": "https://api.example.com/items", "method": "POST", "response": {"id": 1}}"#;
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

/// The longest URL, in bytes.
const URL_BYTES_MAX: usize = 2048;

/// The tool.
pub(super) struct MockApiCall;

impl Tool for MockApiCall {
    fn name(&self) -> &'static str {
        "mock_api_call"
    }

    fn describe(&self) -> Description {
        Description {
            summary:
                "Answers as an API would that gives a certain response. Dry-run only: nothing is ever called."
                    .into(),
            schema: json!({
                "type": "object",
                "required": ["url"],
                "additionalProperties": false,
                "properties": {
                    "url": {"type": "string", "maxLength": URL_BYTES_MAX, "description": "The URL of the call."},
                    "method": {"enum": METHODS, "default": "GET", "description": "The HTTP method."},
                    "response": {"description": "The body to answer with, of any kind."}
                },
                "examples": [{"url": "https://api.example.com/items", "method": "POST", "response": {"id": 1}}]
            }),
        }
    }

    fn prepare(&self, call: &Call<'_>) -> Result<Box<dyn Prepared>, BadCall> {
        let arguments = Arguments::of(call.payload, &["url", "method", "response"], EXAMPLE)?;
        let url = arguments.short_text("url", URL_BYTES_MAX)?;
        let method = arguments.choice("method", &METHODS)?;
        if call.effect == Effect::Live {
            return Err(BadCall::at(
                "",
                "`mock_api_call` only simulates and calls nothing; send it as a dry-run, or use `http_get`",
            ));
        }
        let body = arguments.maybe("response").cloned();
        let body = body.unwrap_or_else(|| json!({"message": format!("Simulated {method} {url}")}));
        Ok(Box::new(Computed(
            json!({"status": 200, "method": method, "url": url, "headers": {}, "body": body}),
        )))
    }
}

#[cfg(test)]
mod tests {
    use execgate_model::{BodyPlace, Effect, RunId, RunOptions};
    use serde_json::{Value, json};

    use super::MockApiCall;
    use crate::{BadCall, Call, Cancel, RunContext, Tool};

    async fn answer(payload: Value, effect: Effect) -> Result<Value, BadCall> {
        let options = RunOptions::default();
        let prepared = MockApiCall.prepare(&Call { payload: &payload, options: &options, effect })?;
        let context = RunContext {
            run: RunId::from_entropy([0; 16]),
            cancel: Cancel::default(),
            watcher: None,
            place: BodyPlace::default(),
        };
        Ok(prepared.run(context).await.map(|product| product.result).unwrap())
    }

    #[tokio::test]
    async fn a_dry_run_answers_what_was_asked_for() {
        let asked = json!({"url": "https://a.example", "method": "POST", "response": [1]});
        let answer = answer(asked, Effect::DryRun).await.unwrap();
        let expected =
            json!({"status": 200, "method": "POST", "url": "https://a.example", "headers": {}, "body": [1]});
        assert_eq!(answer, expected);
    }

    #[tokio::test]
    async fn a_live_call_is_refused() {
        let bad = answer(json!({"url": "https://a.example"}), Effect::Live).await.unwrap_err();
        assert!(bad.message.contains("only simulates"), "{}", bad.message);
        assert!(answer(json!({"url": "x", "method": "BREW"}), Effect::DryRun).await.is_err());
    }
}
