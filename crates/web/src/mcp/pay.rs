//! Payments within tool calls, as x402 has them (x402, transports-v2/mcp): what is asked for is the structured content of a
//! result, the payment comes in `_meta["x402/payment"]`, and how it ended is told in `_meta["x402/payment-response"]`.
//!
//! Nothing is verified here. Every change here needs a second reader.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use execgate_flow::pay::Bought;
use execgate_flow::propose::lives_at_least_s;
use execgate_model::{Credential, Resource, Surface};
use execgate_payment::{Asked, Header};
use rmcp::model::{CallToolResult, ContentBlock, JsonObject};
use serde_json::{Map, Value};

use crate::house::House;
use crate::payment::{CREDENTIAL_MAX, X402};
use crate::problem::Problem;

/// Where a payment stands.
const PAYMENT: &str = "x402/payment";

/// Where it is told how a payment ended.
const PAYMENT_RESPONSE: &str = "x402/payment-response";

/// The headers of the rail that hold the same as JSON in base64.
const REQUIRED_HEADER: &str = "payment-required";
const RESPONSE_HEADER: &str = "payment-response";

/// The payment that a call shows; none where nobody is paid here.
pub(super) fn credential(
    house: &House,
    tool: &str,
    meta: &Map<String, Value>,
) -> Result<Option<Credential>, Problem> {
    let Some(payment) = meta.get(PAYMENT).filter(|payment| !payment.is_null() && house.takes_money()) else {
        return Ok(None);
    };
    let refused = |detail: &'static str| Problem::bad_request("bad-payment", detail);
    if !payment.is_object() {
        return Err(refused("`_meta[\"x402/payment\"]` must be an object: a PaymentPayload"));
    }
    let bytes = STANDARD.encode(payment.to_string()).into_bytes();
    if bytes.len() > CREDENTIAL_MAX {
        return Err(refused("the payment is longer than 16 KiB"));
    }
    Ok(Some(Credential { rail: X402.to_owned(), bytes, resource: resource(tool) }))
}

/// What is sold.
fn resource(tool: &str) -> Resource {
    Resource {
        url: format!("mcp://tool/{tool}"),
        description: format!("A call of the tool {tool}"),
        mime: "application/json".to_owned(),
        method: "POST".to_owned(),
        body_digest: None,
        example: Value::Null,
    }
}

/// How to pay for what a problem asks money for; none where it asks for none, or nothing that comes this way pays for it.
pub(super) fn required(house: &House, tool: &str, problem: &Problem) -> Option<CallToolResult> {
    let tag = problem.tag()?;
    let asked = Asked {
        amount: tag.price,
        flow: tag.flow,
        lives_at_least_s: lives_at_least_s(Surface::Mcp, None),
        refused: tag.refused.clone(),
        accepts: None,
    };
    let offers = house.parts.corridor.rails().offers(&asked, &resource(tool));
    let headers = offers.iter().flat_map(|offer| &offer.headers);
    let mut required = headers.filter(|header| header.name == REQUIRED_HEADER).find_map(decoded)?;
    if let Some(Value::Object(extensions)) = required.get_mut("extensions") {
        // It tells of a call by HTTP.
        extensions.remove("bazaar");
    }
    let mut result = CallToolResult::error(vec![ContentBlock::text(required.to_string())]);
    result.structured_content = Some(required);
    Some(result)
}

/// How the payment of a run has ended, for the `_meta` of its result.
pub(super) fn response(house: &House, bought: &Bought) -> Option<JsonObject> {
    let headers = bought.told(house.parts.corridor.rails());
    let told = headers.iter().filter(|header| header.name == RESPONSE_HEADER).find_map(decoded)?;
    Some([(PAYMENT_RESPONSE.to_owned(), told)].into_iter().collect())
}

fn decoded(header: &Header) -> Option<Value> {
    serde_json::from_slice(&STANDARD.decode(&header.value).ok()?).ok()
}
