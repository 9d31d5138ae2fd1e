//! What a description of an API says of its prices: `x-payment-info`, and `x-service-info`. What a 402 says counts.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::Challenge;
use crate::Offer;

/// Whether an operation costs the same each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Price {
    /// Yes.
    Fixed,
    /// It depends on what is asked for.
    Varies,
}

/// The member `x-payment-info` of an operation that these offers are made for; none where none is of this scheme.
#[must_use]
pub fn payment_info(offers: &[Offer], price: Price) -> Option<Value> {
    let headers = offers.iter().flat_map(|offer| &offer.headers);
    let lines = headers.filter(|header| header.name == "www-authenticate");
    let challenges = lines.filter_map(|line| Challenge::read_all(&line.value).ok()).flatten();
    let offers: Vec<Value> = challenges.filter_map(|(_, challenge)| offered(&challenge, price)).collect();
    (!offers.is_empty()).then(|| json!({"offers": offers}))
}

fn offered(challenge: &Challenge, price: Price) -> Option<Value> {
    let request = URL_SAFE_NO_PAD.decode(&challenge.request).ok()?;
    let request: Value = serde_json::from_slice(&request).ok()?;
    let amount = if price == Price::Fixed { request["amount"].clone() } else { Value::Null };
    let mut offered = json!({
        "method": challenge.method, "intent": challenge.intent, "amount": amount, "currency": request["currency"],
    });
    if let Some(description) = &challenge.description {
        offered["description"] = Value::from(description.as_str());
    }
    Some(offered)
}
