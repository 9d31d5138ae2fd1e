//! Payments within tool calls, as x402 has them (x402, transports-v2/mcp): what is asked for is the structured content of a
//! result, the payment comes in `_meta["x402/payment"]`, and how it ended is told in `_meta["x402/payment-response"]`. How the
//! scheme `Payment` has them is in [`challenge`]; both are one payment to the rooms.
//!
//! Nothing is verified here. Every change here needs a second reader.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use execgate_flow::pay::Bought;
use execgate_flow::propose::lives_at_least_s;
use execgate_model::{Credential, Resource, Surface};
use execgate_payment::{Asked, Header};
use rmcp::ErrorData;
use rmcp::model::{CallToolResult, ContentBlock, ErrorCode, JsonObject, MetaObject};
use serde_json::{Map, Value, json};

use super::approval::Way;
use super::challenge;
use super::desk::Asker;
use crate::house::House;
use crate::payment::{CREDENTIAL_MAX, X402};
use crate::problem::{PriceTag, Problem};

/// Where a payment stands.
const PAYMENT: &str = "x402/payment";

/// What a model is told where only a challenge says how to pay.
const UNPAID: &str = "This call has to be paid for; `_meta[\"org.paymentauth/payment-required\"]` says how.";

/// Where it is told how a payment ended.
const PAYMENT_RESPONSE: &str = "x402/payment-response";

/// The code of an error that asks for money: that of HTTP, outside of what the protocol keeps for itself.
const PAYMENT_REQUIRED: i32 = 402;

/// The headers of the rail that hold the same as JSON in base64.
const REQUIRED_HEADER: &str = "payment-required";
const RESPONSE_HEADER: &str = "payment-response";

/// The payment that a call shows; none where nobody is paid here.
pub(super) fn credential(
    house: &House,
    asker: &Asker,
    tool: &str,
    meta: &Map<String, Value>,
) -> Result<Option<Credential>, Problem> {
    if !house.takes_money() {
        return Ok(None);
    }
    let by_challenge = challenge::credential(asker, tool, meta)?;
    let Some(payment) = meta.get(PAYMENT).filter(|payment| !payment.is_null()) else {
        return Ok(by_challenge);
    };
    let refused = |detail: &'static str| Problem::bad_request("bad-payment", detail);
    if by_challenge.is_some() {
        return Err(refused("one payment at a time: which of two was meant nobody can tell"));
    }
    if !payment.is_object() {
        return Err(refused("`_meta[\"x402/payment\"]` must be an object: a PaymentPayload"));
    }
    let bytes = STANDARD.encode(payment.to_string()).into_bytes();
    if bytes.len() > CREDENTIAL_MAX {
        return Err(refused("the payment is longer than 16 KiB"));
    }
    Ok(Some(Credential { rail: X402.to_owned(), bytes, resource: resource(tool) }))
}

/// What is sold, by the address that x402 has for tools.
fn resource(tool: &str) -> Resource {
    challenge::sold(tool, format!("mcp://tool/{tool}"))
}

/// How to pay for what a problem asks money for; none where it asks for none, or nothing that comes this way pays for it.
/// An error where the client has asked for the form that is one.
pub(super) fn required(
    house: &House,
    asker: &Asker,
    tool: &str,
    way: &Way,
    problem: &Problem,
) -> Option<Result<CallToolResult, ErrorData>> {
    let tag = problem.tag()?;
    let by_challenge = challenge::required(house, asker, tool, tag);
    if way.by_challenge
        && let Some(error) = by_challenge
    {
        return Some(Err(error));
    }
    let data = by_challenge.and_then(|error| error.data);
    let mut result = by_x402(house, tool, tag).or_else(|| {
        // Nobody is paid by x402 here.
        data.as_ref().map(|_| CallToolResult::error(vec![ContentBlock::text(UNPAID)]))
    })?;
    if let Some(data) = data {
        result.meta = Some(MetaObject([(challenge::REQUIRED.to_owned(), data)].into_iter().collect()));
    }
    Some(Ok(result))
}

/// The same of a resource or a prompt, of which the protocol has no result that could say it: an error with the code of HTTP,
/// whose data is what a tool's result has as structured content, and beside it what that has as `_meta`.
pub(super) fn required_to_read(
    house: &House,
    asker: &Asker,
    action: &str,
    way: &Way,
    problem: &Problem,
) -> Option<ErrorData> {
    let result = match required(house, asker, action, way, problem)? {
        Ok(result) => result,
        Err(error) => return Some(error),
    };
    let mut data = result.structured_content.unwrap_or_else(|| json!({}));
    if let Some(meta) = result.meta {
        data["_meta"] = Value::Object(meta.0);
    }
    Some(ErrorData::new(ErrorCode(PAYMENT_REQUIRED), "Payment required", Some(data)))
}

fn by_x402(house: &House, tool: &str, tag: &PriceTag) -> Option<CallToolResult> {
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
    if let Some(receipt) = challenge::receipt(house, bought) {
        return Some([(challenge::RECEIPT.to_owned(), receipt)].into_iter().collect());
    }
    let headers = bought.told(house.parts.corridor.rails());
    let told = headers.iter().filter(|header| header.name == RESPONSE_HEADER).find_map(decoded)?;
    Some([(PAYMENT_RESPONSE.to_owned(), told)].into_iter().collect())
}

fn decoded(header: &Header) -> Option<Value> {
    serde_json::from_slice(&STANDARD.decode(&header.value).ok()?).ok()
}
