//! A problem as the result of a tool call: a model reads the text, a program the rest. Nothing of it is an error of the
//! protocol, so that whoever called can mend the call (MCP 2026-07-28, server/tools, "Error Handling").

use serde_json::{Map, Value, json};

use super::{Problem, approval};

impl Problem {
    /// The problem as `{content, structuredContent, isError: true}`.
    pub(crate) fn in_mcp(&self) -> Value {
        self.in_mcp_under(None)
    }

    /// The same for a caller that reaches this gateway under a name.
    pub(crate) fn in_mcp_under(&self, origin: Option<&str>) -> Value {
        if let Some(waiting) = &self.waiting {
            let mut structured = approval::facts(waiting);
            structured.insert("status".to_owned(), "approval_required".into());
            if let (Some(origin), Some(Value::String(url))) = (origin, structured.get_mut("approve_url")) {
                url.insert_str(0, origin);
            }
            return result(&parked_text(&structured), structured);
        }
        let mut structured = Map::new();
        let mut say = |name: &str, value: Value| {
            if !value.is_null() {
                structured.insert(name.to_owned(), value);
            }
        };
        say("status", "refused".into());
        say("code", self.code.into());
        say("room", json!(self.room));
        say("rule", json!(self.rule));
        say("pointer", json!(self.pointer));
        say("reason", self.detail.clone().into());
        say("retry_after_s", json!(self.retry_after_s));
        say("run", json!(self.exec_id));
        say("receipt", json!(self.receipt));
        result(&self.mcp_text(), structured)
    }

    /// What went wrong, and what to do about it.
    fn mcp_text(&self) -> String {
        let detail = self.detail.trim_end_matches('.');
        let place = self.pointer.as_deref().filter(|pointer| !pointer.is_empty());
        if matches!(self.code, "bad-payload" | "bad-field" | "inexact-number") {
            let place = place.map(|place| format!(" at `{place}`")).unwrap_or_default();
            return format!("The arguments are wrong{place}: {detail}. Mend them and call again.");
        }
        let rule = self.rule.as_deref().filter(|rule| *rule != self.code);
        let rule = rule.map(|rule| format!(" by the rule `{rule}`")).unwrap_or_default();
        let again = self.retry_after_s.map(|seconds| format!(" The same call may succeed in {seconds} s."));
        format!("Refused{rule} ({}): {detail}.{}", self.code, again.unwrap_or_default())
    }
}

fn result(text: &str, structured: Map<String, Value>) -> Value {
    json!({"content": [{"type": "text", "text": text}], "structuredContent": structured, "isError": true})
}

fn parked_text(facts: &Map<String, Value>) -> String {
    let fact = |name: &str| facts.get(name).and_then(Value::as_str).unwrap_or_default();
    format!(
        "This call waits for a person's approval, which the rule `{}` asks for, until {}. Its approval id is {}: an \
         approver sees it under {} or by `execgate approvals`. Make the same call again with the same arguments to \
         hear how it ended; nothing runs twice.",
        fact("rule"),
        fact("expires_at"),
        fact("approval_id"),
        fact("approve_url"),
    )
}

#[cfg(test)]
mod tests {
    use execgate_flow::Refusal;
    use execgate_tool::BadCall;
    use serde_json::json;

    use super::Problem;

    #[test]
    fn a_denial_names_its_rule_and_wrong_arguments_their_place() {
        let denied =
            Refusal::Denied { rule: "/tools/add/deny_if/0".to_owned(), reason: "too much".to_owned() };
        let told = Problem::from(denied).in_mcp();
        let expected = json!({
            "content": [{"type": "text", "text": "Refused by the rule `/tools/add/deny_if/0` (denied): too much."}],
            "structuredContent": {
                "status": "refused", "code": "denied", "room": "authorise", "rule": "/tools/add/deny_if/0",
                "reason": "too much"
            },
            "isError": true
        });
        assert_eq!(told, expected);
        let wrong = Refusal::BadCall(BadCall::at("/timeout", "`timeout` must be a number"));
        let told = Problem::from(wrong).with_payload_at("").in_mcp();
        let text =
            "The arguments are wrong at `/timeout`: `timeout` must be a number. Mend them and call again.";
        assert_eq!(told["content"][0]["text"], text);
    }
}
