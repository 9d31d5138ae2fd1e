//! Payments within tool calls, as the scheme `Payment` has them (draft-payment-transport-mcp): challenges in the data of an
//! error, the credential in `_meta["org.paymentauth/credential"]`, the receipt in `_meta["org.paymentauth/receipt"]`.
//!
//! The codes of its errors lie where MCP keeps its own since 2026-07-28, so that only a client hears them that asks for them
//! (`capabilities.experimental.payment`); to every other the same is told in the `_meta` of a result, as the scheme's own
//! clients read it too. Nothing is verified here. Every change here needs a second reader.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use execgate_flow::pay::Bought;
use execgate_flow::propose::lives_at_least_s;
use execgate_model::{Amount, Credential, Resource, Surface};
use execgate_payment::mpp::{Challenge, Mpp};
use execgate_payment::{Asked, Flow, Offer};
use execgate_receipt::canonical;
use rmcp::ErrorData;
use rmcp::model::{ErrorCode, JsonObject};
use serde_json::{Map, Value, from_slice, json};

use super::desk::Asker;
use crate::house::House;
use crate::payment::CREDENTIAL_MAX;
use crate::problem::{PriceTag, Problem};

/// Where a credential stands.
pub(super) const CREDENTIAL: &str = "org.paymentauth/credential";

/// Where it is told how to pay, in a result.
pub(super) const REQUIRED: &str = "org.paymentauth/payment-required";

/// Where it is told how a payment ended.
pub(super) const RECEIPT: &str = "org.paymentauth/receipt";

/// The member of `capabilities.experimental` of who speaks the scheme.
pub(super) const CAPABILITY: &str = "payment";

/// Nothing came that pays.
const PAYMENT_REQUIRED: i32 = -32_042;

/// What came does not pay.
const VERIFICATION_FAILED: i32 = -32_043;

/// What came cannot be read (JSON-RPC 2.0, 5.1).
const INVALID_PARAMS: i32 = -32_602;

/// The header of the rail that holds a receipt.
const RECEIPT_HEADER: &str = "payment-receipt";

/// The credential that a call shows; none where it shows none.
///
/// # Errors
/// A problem of form.
pub(super) fn credential(
    asker: &Asker,
    tool: &str,
    meta: &Map<String, Value>,
) -> Result<Option<Credential>, Problem> {
    let Some(shown) = meta.get(CREDENTIAL).filter(|shown| !shown.is_null()) else { return Ok(None) };
    let refused = |detail: &'static str| Problem::bad_request("bad-payment", detail);
    let malformed = || {
        refused("`_meta[\"org.paymentauth/credential\"]` must be an object with `challenge` and `payload`")
    };
    let mut shown = shown.as_object().cloned().ok_or_else(malformed)?;
    let challenge = shown.get_mut("challenge").and_then(Value::as_object_mut).ok_or_else(malformed)?;
    // What is a text by HTTP is an object here, and its id is over the text.
    for name in ["request", "opaque"] {
        if let Some(object @ Value::Object(_)) = challenge.get_mut(name) {
            let text = canonical(object).map_err(|_| malformed())?;
            *object = URL_SAFE_NO_PAD.encode(text).into();
        }
    }
    // A client's own reading of `opaque`.
    challenge.remove("meta");
    let bytes = URL_SAFE_NO_PAD.encode(Value::Object(shown).to_string()).into_bytes();
    if bytes.len() > CREDENTIAL_MAX {
        return Err(refused("the payment is longer than 16 KiB"));
    }
    Ok(Some(Credential { rail: Mpp::NAME.to_owned(), bytes, resource: resource(asker, tool) }))
}

/// What is sold: a tool, behind the door at which it is called. The realm of a challenge is the host in it.
fn resource(asker: &Asker, tool: &str) -> Resource {
    let origin = asker.origin.as_deref().unwrap_or("mcp://local");
    sold(tool, format!("{origin}/mcp?tool={tool}"))
}

/// A call of a tool, as what is sold under an address.
pub(super) fn sold(tool: &str, url: String) -> Resource {
    Resource {
        url,
        description: format!("A call of the tool {tool}"),
        mime: "application/json".to_owned(),
        method: "POST".to_owned(),
        body_digest: None,
        example: Value::Null,
    }
}

/// How to pay for what is asked for, as an error and as its data; none where no method of the scheme is taken here.
pub(super) fn required(house: &House, asker: &Asker, tool: &str, tag: &PriceTag) -> Option<ErrorData> {
    let asked = Asked {
        amount: tag.price,
        flow: tag.flow,
        lives_at_least_s: lives_at_least_s(Surface::Mcp, None),
        refused: tag.refused.clone(),
        accepts: None,
    };
    let offers = house.parts.corridor.rails().offers(&asked, &resource(asker, tool));
    let challenges = challenges(&offers);
    if challenges.is_empty() {
        return None;
    }
    let mut data = json!({"httpStatus": 402, "challenges": challenges});
    let words = offers.iter().find_map(|offer| offer.members.get("type").map(|_| offer.members.clone()));
    if let Some(words) = words {
        data["problem"] = Value::Object(words);
        data["problem"]["status"] = 402.into();
    }
    let code = match &tag.refused {
        None => PAYMENT_REQUIRED,
        Some(refused) => {
            let (reason, detail) = refused.split_once(':').unwrap_or((refused, ""));
            data["failure"] = json!({"reason": reason, "detail": detail.trim_start()});
            if reason == "malformed-credential" { INVALID_PARAMS } else { VERIFICATION_FAILED }
        }
    };
    Some(ErrorData::new(ErrorCode(code), "Payment Required", Some(data)))
}

/// The challenges of offers, each as an object whose request is one too.
fn challenges(offers: &[Offer]) -> Vec<Value> {
    let lines =
        offers.iter().flat_map(|offer| &offer.headers).filter(|header| header.name == "www-authenticate");
    let read = lines.filter_map(|line| Challenge::read_all(&line.value).ok()).flatten();
    read.filter_map(|(id, challenge)| told(&id, &challenge)).collect()
}

fn told(id: &str, challenge: &Challenge) -> Option<Value> {
    let request: Value = from_slice(&URL_SAFE_NO_PAD.decode(&challenge.request).ok()?).ok()?;
    let mut told = json!({
        "id": id, "realm": challenge.realm, "method": challenge.method, "intent": challenge.intent,
        "request": request,
    });
    let more = [
        ("expires", &challenge.expires),
        ("digest", &challenge.digest),
        ("header", &challenge.header),
        ("opaque", &challenge.opaque),
        ("description", &challenge.description),
    ];
    for (name, text) in more {
        if let Some(text) = text {
            told[name] = text.clone().into();
        }
    }
    Some(told)
}

/// The receipt of what was paid so, where it was.
pub(super) fn receipt(house: &House, bought: &Bought) -> Option<Value> {
    let headers = bought.told(house.parts.corridor.rails());
    let header = headers.iter().find(|header| header.name == RECEIPT_HEADER)?;
    from_slice(&URL_SAFE_NO_PAD.decode(&header.value).ok()?).ok()
}

impl House {
    /// What this gateway says of the scheme: its methods, each with what they are for; none where it is not spoken here.
    pub(crate) fn challenge_methods(&self) -> Option<&JsonObject> {
        self.challenge_methods.get_or_init(|| capability(self)).as_ref()
    }
}

fn capability(house: &House) -> Option<JsonObject> {
    if !house.takes_money() {
        return None;
    }
    // A price that no method is too good for: what is read of the offer are the names of its methods.
    let asked = Asked {
        amount: Amount::from_micros(1_000_000),
        flow: Flow::Authorization,
        lives_at_least_s: lives_at_least_s(Surface::Mcp, None),
        refused: None,
        accepts: None,
    };
    let sold = Resource { url: "http://localhost".to_owned(), ..Resource::default() };
    let offers = house.parts.corridor.rails().offers(&asked, &sold);
    let mut methods = JsonObject::new();
    for challenge in challenges(&offers) {
        let (Some(method), intent) = (challenge["method"].as_str(), &challenge["intent"]) else { continue };
        methods.insert(method.to_owned(), json!({"intents": [intent]}));
    }
    (!methods.is_empty()).then(|| [("methods".to_owned(), Value::Object(methods))].into_iter().collect())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use execgate_model::{Caller, Identity, TenantId};
    use execgate_payment::mpp::Challenge;
    use serde_json::{Map, Value, from_slice, json};

    use super::{CREDENTIAL, credential, told};
    use crate::mcp::desk::Asker;

    fn asker() -> Asker {
        let caller = Caller { tenant: TenantId::new("default").unwrap(), identity: Identity::Local };
        Asker { caller, peer: None, origin: Some("https://gate.example".to_owned()) }
    }

    fn meta(shown: Value) -> Map<String, Value> {
        [(CREDENTIAL.to_owned(), shown)].into_iter().collect()
    }

    #[test]
    fn what_is_an_object_over_mcp_is_the_text_that_the_id_is_over() {
        let request = URL_SAFE_NO_PAD.encode(r#"{"amount":"1","currency":"0x0"}"#);
        let challenge = Challenge {
            realm: "gate.example".to_owned(),
            method: "evm".to_owned(),
            intent: "charge".to_owned(),
            request: request.clone(),
            expires: None,
            digest: None,
            header: None,
            opaque: Some("e30".to_owned()),
            description: None,
        };
        let told = told("id-1", &challenge).unwrap();
        assert_eq!(told["request"], json!({"amount": "1", "currency": "0x0"}));
        let mut shuffled = told;
        shuffled["request"] = from_slice(br#"{"currency":"0x0","amount":"1"}"#).unwrap();
        shuffled["meta"] = json!({"a": "b"});
        let shown = meta(json!({"challenge": shuffled, "payload": {"type": "x"}}));
        let read = credential(&asker(), "math_compute", &shown).unwrap().unwrap();
        let wire: Value = from_slice(&URL_SAFE_NO_PAD.decode(&read.bytes).unwrap()).unwrap();
        assert_eq!(
            (&wire["challenge"]["request"], &wire["challenge"]["id"]),
            (&json!(request), &json!("id-1"))
        );
        assert!(wire["challenge"].get("meta").is_none());
        assert_eq!(
            (read.rail.as_str(), read.resource.url.as_str()),
            ("mpp", "https://gate.example/mcp?tool=math_compute")
        );
    }

    #[test]
    fn what_is_no_credential_is_a_problem_of_form_and_nothing_is_nothing() {
        for none in [Map::new(), meta(Value::Null)] {
            assert!(credential(&asker(), "t", &none).unwrap().is_none());
        }
        for wrong in [json!("text"), json!({}), json!({"challenge": "text"}), json!([1])] {
            assert!(credential(&asker(), "t", &meta(wrong)).is_err());
        }
        let long = json!({"challenge": {"id": "x".repeat(20_000)}, "payload": {}});
        assert!(credential(&asker(), "t", &meta(long)).is_err());
    }
}
