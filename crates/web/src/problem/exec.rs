//! Problems in the words of `/exec/*`: always JSON, always with a `proofHash`, never a 500 (CONTRACTS 3).

use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::Response;
use execgate_flow::authorise::IamWord;
use execgate_model::{Effect, UnixMs};
use execgate_receipt::{Timestamp, digest_json, sha256};
use execgate_store::Answer;
use serde_json::{Value, json};

use super::approval::parked_in;
use super::{PriceTag, Problem};

/// The version of the envelope.
pub(crate) const SCHEMA_VERSION: &str = "v1";

/// The kind of the 402 of this surface (PRODUCT A).
const PAYMENT_REQUIRED: &str = "https://paymentauth.org/problems/payment-required";

/// What is known of the call that is answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    /// The tool, as the caller named it.
    pub(crate) tool: Option<String>,
    /// For real, or simulated.
    pub(crate) effect: Option<Effect>,
    /// Whether an identity service or a grant said yes.
    pub(crate) iam_approved: bool,
    /// How the identity service was asked, where it was.
    pub(crate) iam: Option<IamWord>,
    /// The rail; nothing is taken for what is refused.
    pub(crate) rail: Option<String>,
}

/// When a call was answered, and how long that took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    pub(crate) at: UnixMs,
    pub(crate) latency_ms: u64,
}

impl Default for Took {
    fn default() -> Self {
        Self { at: UnixMs(0), latency_ms: 0 }
    }
}

impl Asked {
    /// The members that every envelope has, but for `status`, `result` and `proofHash`.
    pub(crate) fn envelope(&self, took: Took) -> Value {
        let mut envelope = json!({
            "tool": self.tool,
            "dryRun": self.effect.map(|effect| effect == Effect::DryRun),
            "iamApproved": self.iam_approved,
            "paymentProtocol": self.rail.as_deref().unwrap_or("free"),
            "latencyMs": took.latency_ms,
            "timestamp": Timestamp::new(took.at).ok(),
            "schemaVersion": SCHEMA_VERSION,
        });
        if self.iam == Some(IamWord::UnreachableOpen) {
            envelope["iam"] = IamWord::UnreachableOpen.as_str().into();
        }
        envelope
    }
}

/// Gives a body that no receipt stands for its own digest, and says that it is no more than that.
pub(crate) fn seal(mut body: Value) -> Value {
    body["durable"] = false.into();
    let digest = digest_json(&body).unwrap_or_else(|_| sha256(body.to_string().as_bytes()));
    body["proofHash"] = format!("0x{digest}").into();
    body
}

impl Problem {
    /// The problem as an answer of `/exec/*`.
    pub(crate) fn in_exec(&self, asked: &Asked, took: Took) -> Answer {
        let status = if self.is_stub(asked) { StatusCode::OK.as_u16() } else { self.status };
        let kind = if self.tag.is_some() { "application/problem+json" } else { "application/json" };
        let body = self.exec_body(asked, took).to_string().into_bytes();
        Answer { status, content_type: kind.to_owned(), body }
    }

    /// The same as a response.
    pub(crate) fn told_in_exec(&self, asked: &Asked, took: Took) -> Response {
        let mut response = crate::http::write(self.in_exec(asked, took));
        if let Some(tag) = &self.tag {
            tag.announce(response.headers_mut());
        }
        if let Some(seconds) = self.retry_after_s.filter(|_| !self.is_stub(asked)) {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    /// The body.
    pub(crate) fn exec_body(&self, asked: &Asked, took: Took) -> Value {
        if let Some(tag) = &self.tag {
            return seal(self.payment_required(tag));
        }
        let mut body = asked.envelope(took);
        if let Some(waiting) = &self.waiting {
            return seal(parked_in(body, waiting));
        }
        body["jobId"] = json!(self.exec_id);
        body["status"] = self.exec_word(asked).into();
        body["result"] = if self.is_stub(asked) {
            json!({"output": null, "exitCode": 0, "simulated": true})
        } else {
            Value::Null
        };
        body["error"] = self.exec_error();
        match &self.receipt {
            Some(receipt) => {
                body["proofHash"] = format!("0x{receipt}").into();
                body
            }
            None => seal(body),
        }
    }

    /// What the problem says of itself.
    fn exec_error(&self) -> Value {
        // What is called an action elsewhere is a tool here.
        let detail = match self.code {
            "unknown-action" => self.detail.replacen("action", "tool", 1),
            _ => self.detail.clone(),
        };
        let mut error = json!({
            "type": self.kind, "title": self.title, "status": self.status, "code": self.code, "detail": detail
        });
        for (name, text) in [
            ("room", self.room.map(str::to_owned)),
            ("rule", self.rule.clone()),
            ("pointer", self.pointer.clone()),
        ] {
            if let Some(text) = text {
                error[name] = text.into();
            }
        }
        error
    }

    /// A dry-run whose engine did not start is answered by a stub. A full house is none: it will start later.
    fn is_stub(&self, asked: &Asked) -> bool {
        let unstarted = matches!(self.code, "not-started" | "no-slot") && !self.is_at_capacity();
        unstarted && asked.effect == Some(Effect::DryRun)
    }

    /// An answer is `refused`, a fault of ours is `failed`.
    fn exec_word(&self, asked: &Asked) -> &'static str {
        let is_fault = self.status >= 500 && !self.is_at_capacity() && self.code != "busy";
        if self.is_stub(asked) {
            "stub"
        } else if is_fault || self.code == "run-outcome-unknown" {
            "failed"
        } else {
            "refused"
        }
    }

    /// PRODUCT A: the 402 of this surface. Whom to pay, and with what, the offers say.
    fn payment_required(&self, tag: &PriceTag) -> Value {
        let amount = tag.price;
        let mut body = json!({
            "type": PAYMENT_REQUIRED,
            "title": "Payment Required",
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "room": self.room,
            "rule": self.rule,
            "amount": amount,
            "currency": "USDC",
            "network": "base",
            "payTo": null,
            "instructions": format!(
                "Pay {amount} USDC on Base network then retry with payment credential in Authorization header"
            ),
            "erc7710": "Pre-approve spend limit via ERC-7710 scoped delegation for high-frequency calls",
            "acp": "https://app.virtuals.io/acp",
        });
        tag.add_to(&mut body);
        body
    }
}

#[cfg(test)]
mod tests {
    use execgate_flow::Refusal;
    use execgate_model::{Digest, Effect, RunId, UnixMs};
    use execgate_payment::Flow;
    use execgate_receipt::digest_json;
    use execgate_tool::NotStarted;
    use serde_json::{Value, json};

    use super::{Asked, Took};
    use crate::problem::Problem;

    fn told(refusal: Refusal, effect: Effect) -> (u16, Value) {
        let asked = Asked { tool: Some("http_get".to_owned()), effect: Some(effect), ..Asked::default() };
        let took = Took { at: UnixMs(1_700_000_000_123), latency_ms: 7 };
        let answer = Problem::from(refusal).in_exec(&asked, took);
        (answer.status, serde_json::from_slice(&answer.body).unwrap())
    }

    #[test]
    fn a_refusal_has_the_digest_of_itself() {
        let denied = Refusal::Denied { rule: "allow-list".to_owned(), reason: "no".to_owned() };
        let (status, mut body) = told(denied, Effect::Live);
        assert_eq!((status, &body["status"], &body["result"]), (403, &json!("refused"), &Value::Null));
        assert_eq!((&body["error"]["room"], &body["durable"]), (&json!("authorise"), &json!(false)));
        let proof = body.as_object_mut().unwrap().remove("proofHash").unwrap();
        assert_eq!(proof, json!(format!("0x{}", digest_json(&body).unwrap())));
    }

    #[test]
    fn a_lost_end_has_the_receipt_of_its_run() {
        let receipt = Digest::from_bytes([3; 32]);
        let problem = Problem::unknown_outcome(RunId::from_entropy([1; 16]), receipt);
        let body = problem.exec_body(&Asked::default(), Took { at: UnixMs(0), latency_ms: 0 });
        assert_eq!((&body["proofHash"], body.get("durable")), (&json!(format!("0x{receipt}")), None));
        assert_eq!((&body["status"], &body["error"]["status"]), (&json!("failed"), &json!(409)));
    }

    #[test]
    fn an_engine_that_does_not_start_is_a_stub_in_a_dry_run_alone_and_a_full_house_never() {
        let fault = || NotStarted::Fault("/run/helper.sock: gone".to_owned());
        for refusal in [Refusal::NoSlot, Refusal::NotStarted] {
            let (status, body) = told(refusal(fault()), Effect::DryRun);
            assert_eq!((status, &body["status"], &body["durable"]), (200, &json!("stub"), &json!(false)));
            assert_eq!(body["result"], json!({"output": null, "exitCode": 0, "simulated": true}));
            assert!(!body.to_string().contains("helper.sock"), "{body}");
            let (status, body) = told(refusal(fault()), Effect::Live);
            assert_eq!((status, &body["status"], &body["result"]), (503, &json!("failed"), &Value::Null));
            for effect in [Effect::Live, Effect::DryRun] {
                let (status, body) = told(refusal(NotStarted::Full), effect);
                assert_eq!((status, &body["status"]), (503, &json!("refused")));
            }
        }
    }

    #[test]
    fn what_is_to_be_paid_is_told_to_machines() {
        let price = "0.01".parse().unwrap();
        let (status, body) =
            told(Refusal::PaymentRequired { price, flow: Flow::Authorization }, Effect::DryRun);
        assert_eq!((status, &body["amount"], &body["status"]), (402, &json!("0.01"), &json!(402)));
        let instructions =
            "Pay 0.01 USDC on Base network then retry with payment credential in Authorization header";
        assert_eq!(body["instructions"], instructions);
        assert!(body["proofHash"].as_str().unwrap().starts_with("0x"));
    }
}
