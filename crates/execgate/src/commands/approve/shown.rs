//! What is signed, read from the gateway's answer and shown whole. The digest is computed here, from what is shown.
//!
//! A gateway that says one digest and means another request is found out here, and nowhere else.

use anyhow::{Context as _, bail};
use execgate_model::{ActionName, Amount, ApprovalId, ApproverName, RunId, TenantId, UnixMs};
use execgate_receipt::approval::{APPROVAL_TYPE, ActionDigest, ApprovalStatement, Decision};
use execgate_receipt::{Timestamp, digest_json};
use serde_json::Value;

use crate::plain;

/// The members of what the digest is over, and no other.
const REQUEST: [&str; 4] = ["action", "dryRun", "options", "payload"];

/// One approval, as it may be signed.
pub(super) struct Shown<'a> {
    answer: &'a Value,
    request: &'a Value,
    pub(super) id: RunId,
    action: ActionName,
    digest: ActionDigest,
    tenant: TenantId,
    scope: Option<String>,
    policy: ActionDigest,
    price: Amount,
    expires: Timestamp,
}

/// What the approver adds.
pub(super) struct Word {
    pub(super) decision: Decision,
    pub(super) approver: ApproverName,
    pub(super) reason: Option<String>,
    pub(super) now: UnixMs,
}

impl<'a> Shown<'a> {
    /// Reads what a gateway has answered for an id, and holds its digest against the request that it shows.
    pub(super) fn read(answer: &'a Value, asked: &str) -> anyhow::Result<Self> {
        let text = |name: &'static str| {
            answer[name].as_str().with_context(|| format!("the gateway's answer has no `{name}`"))
        };
        let id: RunId = text("id")?.parse()?;
        if text("approval_id")? != id.to_string() || asked.parse() != Ok(id) {
            bail!("the gateway answered for another approval than {}", plain::line(asked));
        }
        let request = &answer["request"];
        let members: Vec<_> =
            request.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        if members.len() != REQUEST.len() || !REQUEST.iter().all(|name| members.contains(name)) {
            bail!("what is to be signed has other members than {}", REQUEST.join(", "));
        }
        let digest = ActionDigest(digest_json(request).context("what is to be signed has no exact digest")?);
        let told: ActionDigest = text("action_digest")?.parse().context("the gateway's digest is none")?;
        if told != digest {
            bail!(
                "REFUSED: the gateway says that {told} is to be signed, and the digest of what it shows is {digest}"
            );
        }
        let scope = match &answer["scope"] {
            Value::Null => None,
            Value::String(scope) => Some(scope.clone()),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                bail!("the gateway's answer has a `scope` that is no text")
            }
        };
        let action = request["action"].as_str().context("the action is no text")?.parse()?;
        Ok(Self {
            id,
            action,
            digest,
            tenant: text("tenant")?.parse()?,
            scope,
            policy: text("policy_digest")?.parse().context("the digest of the policy is none")?,
            price: text("price")?.parse().context("the price is none")?,
            expires: text("expires_at")?.parse().context("the end is no time")?,
            answer,
            request,
        })
    }

    /// Everything, in lines.
    pub(super) fn text(&self) -> String {
        let said = |name: &str| match &self.answer[name] {
            Value::String(text) => plain::line(text),
            Value::Null => "-".to_owned(),
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                plain::json(other)
            }
        };
        let is_simulated = self.request["dryRun"] == true;
        let effect = if is_simulated { "no: a dry-run, nothing outside changes" } else { "yes" };
        let lines = [
            ("approval", self.id.to_string()),
            ("action", self.action.to_string()),
            ("for real", effect.to_owned()),
            ("caller", said("caller")),
            ("tenant", self.tenant.to_string()),
            ("scope", self.scope.as_deref().map_or_else(|| "-".to_owned(), plain::line)),
            ("surface", said("surface")),
            ("nonce", said("nonce")),
            ("price", self.price.to_string()),
            ("policy", self.policy.to_string()),
            ("asked at", said("created_at")),
            ("waits until", self.expires.to_string()),
            ("asked by", said("terms")),
            ("refused by", said("refused")),
            ("said so far", said("approvals")),
            ("options", plain::json(&self.request["options"])),
            ("digest", format!("{} (computed here)", self.digest)),
        ];
        let mut text: String = lines.iter().map(|(name, value)| format!("{name:<12} {value}\n")).collect();
        text.push_str("payload\n");
        text.push_str(&plain::json(&self.request["payload"]));
        text
    }

    /// What is signed of it. It is worth nothing once the request waits no more.
    pub(super) fn statement(&self, word: Word) -> anyhow::Result<ApprovalStatement> {
        let issued_at = Timestamp::new(word.now).context("the clock of this machine is wrong")?;
        Ok(ApprovalStatement {
            statement_type: APPROVAL_TYPE.to_owned(),
            approval_id: ApprovalId::from(self.id),
            decision: word.decision,
            tenant: self.tenant.clone(),
            scope: self.scope.clone(),
            action: self.action.clone(),
            action_digest: self.digest,
            policy_digest: Some(self.policy),
            max_price: Some(self.price),
            reason: word.reason,
            issued_at,
            expires_at: self.expires,
            approver: word.approver,
        })
    }
}

#[cfg(test)]
mod tests {
    use execgate_receipt::digest_json;
    use serde_json::{Value, json};

    use super::Shown;

    const ID: &str = "6f1f4b0a-7a8d-8c3e-9b1a-0123456789ab";

    fn answer(payload: Value) -> Value {
        let request = json!({"action": "python", "payload": payload, "dryRun": false, "options": {}});
        let digest = digest_json(&request).unwrap();
        json!({
            "id": ID, "approval_id": ID, "status": "pending", "request": request,
            "action_digest": format!("sha256:{digest}"), "tenant": "default", "scope": "default\nlocal",
            "caller": "local", "surface": "execute", "nonce": "n", "price": "0",
            "policy_digest": format!("sha256:{digest}"), "terms": [], "approvals": [],
            "created_at": "2026-11-21T20:00:00.000Z", "expires_at": "2026-11-21T20:05:00.000Z",
        })
    }

    #[test]
    fn a_digest_of_something_else_is_found_out() {
        let good = answer(json!({"code": "1"}));
        assert!(Shown::read(&good, ID).is_ok());
        for (pointer, other) in [
            ("/request/payload/code", json!("2")),
            ("/request/dryRun", json!(true)),
            ("/request/options", json!({"timeout_ms": 1})),
            ("/request/action", json!("bash")),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(pointer).unwrap() = other;
            let error = Shown::read(&bad, ID).err().unwrap().to_string();
            assert!(error.starts_with("REFUSED"), "{pointer}: {error}");
        }
        let mut more = good.clone();
        more["request"]["also"] = json!(1);
        assert!(Shown::read(&more, ID).is_err());
        assert!(Shown::read(&good, &ID.replace('6', "7")).is_err());
    }

    #[test]
    fn all_of_it_is_shown_and_nothing_hides() {
        let code = format!("print('\u{202e}')\n{}", "x".repeat(100_000));
        let answer = answer(json!({ "code": code }));
        let text = Shown::read(&answer, ID).unwrap().text();
        assert!(text.contains("print('\\u202e')\\n") && text.contains(&"x".repeat(100_000)));
        assert!(text.contains("scope        default\\u000alocal"), "{text:.900}");
    }
}
