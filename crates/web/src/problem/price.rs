//! What is asked for where a payment is the problem, and how to pay it: what the rails say, in the words of a surface.

use axum::http::HeaderMap;
use execgate_flow::Refusal;
use execgate_model::Amount;
use execgate_payment::x402::ALLOWANCE_REQUIRED;
use execgate_payment::{Flow, Offer};
use serde_json::Value;

use crate::payment::append;

/// The member in which several surfaces say what is wrong.
const ERROR: &str = "error";

/// Whether a payment was refused because its payer has to let Permit2 move its tokens first: the code before any words.
pub(super) fn is_to_be_let(reason: &str) -> bool {
    reason.split(':').next() == Some(ALLOWANCE_REQUIRED)
}

/// What is asked for, and how to pay it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PriceTag {
    pub(crate) price: Amount,
    pub(crate) flow: Flow,
    /// Why what came did not pay for it, where something came.
    pub(crate) refused: Option<String>,
    /// By rail, where any takes money.
    pub(super) offers: Vec<Offer>,
}

impl PriceTag {
    pub(super) fn of(refusal: &Refusal) -> Option<Box<Self>> {
        let tag = |price: &Amount, flow: Flow, refused: Option<&str>| {
            Box::new(Self { price: *price, flow, refused: refused.map(str::to_owned), offers: Vec::new() })
        };
        if let Refusal::PaymentRequired { price, flow } = refusal {
            Some(tag(price, *flow, None))
        } else if let Refusal::PaymentRefused { price, flow, reason } = refusal {
            Some(tag(price, *flow, Some(reason)))
        } else if let Refusal::PayerLimited { price, flow, rule, .. } = refusal {
            Some(tag(price, *flow, Some(rule)))
        } else if let Refusal::Unpaid { price, flow, .. } = refusal {
            // The work is done: what comes now is taken at once.
            Some(tag(price, *flow, Some("settlement_failed")))
        } else {
            None
        }
    }

    /// Says in headers how to pay.
    pub(super) fn announce(&self, headers: &mut HeaderMap) {
        for header in self.offers.iter().flat_map(|offer| &offer.headers) {
            append(headers, header);
        }
    }

    /// Says in a body how to pay. The first one's word counts; what is wrong the surface says in its own words.
    pub(super) fn add_to(&self, body: &mut Value) {
        let Value::Object(body) = body else { return };
        for (name, value) in self.offers.iter().rev().flat_map(|offer| offer.members.clone()) {
            if name != ERROR || !body.contains_key(ERROR) {
                body.insert(name, value);
            }
        }
    }
}
