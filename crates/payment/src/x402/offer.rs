//! What is asked for, in the words of both versions: a header for version 2, members of the body for version 1.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use execgate_model::{Amount, Resource};
use serde_json::{Map, Value, json};

use super::credential::IDENTIFIER;
use super::rail::{Account, Transfer};
use crate::evm::{Address, KNOWN_TOKENS, U256};
use crate::{Asked, Flow, Header, Offer};

/// How long a client may take from reading an offer until its payment is here, in seconds.
const SIGNING_S: u64 = 60;

/// What a client is told that brought nothing.
const REQUIRED: &str = "Payment required";

/// The decimal places of an [`Amount`].
const AMOUNT_DECIMALS: u8 = 6;

/// For how long an authorization is asked to live, in seconds.
pub(super) const fn max_timeout_s(lives_at_least_s: u64) -> u64 {
    lives_at_least_s + SIGNING_S
}

/// An amount in the smallest unit of a token with so many decimals; none where it has no exact one.
pub(super) fn units(amount: Amount, decimals: u8) -> Option<U256> {
    let micros = u128::from(amount.micros());
    if decimals >= AMOUNT_DECIMALS {
        let scale = 10_u128.checked_pow(u32::from(decimals - AMOUNT_DECIMALS))?;
        return Some(U256::from_u128(micros.checked_mul(scale)?));
    }
    let scale = 10_u128.checked_pow(u32::from(AMOUNT_DECIMALS - decimals))?;
    (micros % scale == 0).then(|| U256::from_u128(micros / scale))
}

/// What an account asks, in the words of version 2; none where it cannot be paid so. `settles`: whose account settles what is
/// metered.
pub(super) fn requirement(account: &Account, asked: &Asked, settles: Option<Address>) -> Option<Value> {
    let mut extra = json!({"name": account.token.name, "version": account.token.version});
    if account.transfer == Transfer::Permit2 {
        extra["assetTransferMethod"] = account.transfer.as_str().into();
    }
    let scheme = match asked.flow {
        Flow::Authorization => "exact",
        Flow::Upfront => {
            extra["paymentFlow"] = asked.flow.as_str().into();
            "exact"
        }
        Flow::Metered if account.transfer == Transfer::Permit2 => {
            extra["facilitatorAddress"] = settles?.to_string().into();
            "upto"
        }
        Flow::Metered => return None,
    };
    Some(json!({
        "scheme": scheme,
        "network": account.token.network,
        "amount": units(asked.amount, account.token.decimals)?,
        "asset": account.token.contract,
        "payTo": account.pay_to,
        "maxTimeoutSeconds": max_timeout_s(asked.lives_at_least_s),
        "extra": extra,
    }))
}

/// The same in the words of version 1, which has short names, and knows of one flow and of EIP-3009.
fn requirement_of_one(account: &Account, asked: &Asked, resource: &Resource) -> Option<Value> {
    if asked.flow != Flow::Authorization || account.transfer != Transfer::Eip3009 {
        return None;
    }
    Some(json!({
        "scheme": "exact",
        "network": account.token.network.short_name()?,
        "maxAmountRequired": units(asked.amount, account.token.decimals)?,
        "resource": resource.url,
        "description": resource.description,
        "mimeType": resource.mime,
        "payTo": account.pay_to,
        "maxTimeoutSeconds": max_timeout_s(asked.lives_at_least_s),
        "asset": account.token.contract,
        "extra": {"name": account.token.name, "version": account.token.version},
    }))
}

/// The extensions that are offered: a name for a payment, and how to call what is sold.
fn extensions(resource: &Resource) -> Value {
    json!({
        IDENTIFIER: {
            "info": {"required": false},
            "schema": {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "properties": {
                    "required": {"type": "boolean"},
                    "id": {"type": "string", "minLength": 16, "maxLength": 128, "pattern": "^[A-Za-z0-9_-]+$"},
                },
                "required": ["required"],
            },
        },
        "bazaar": {
            "info": {
                "input": {
                    "type": "http", "method": resource.method, "bodyType": "json", "body": resource.example
                },
                "output": {"type": "json"},
            },
            "schema": {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "properties": {
                    "input": {
                        "type": "object",
                        "properties": {
                            "type": {"type": "string", "const": "http"},
                            "method": {"type": "string", "enum": ["POST"]},
                            "bodyType": {"type": "string", "enum": ["json"]},
                            "body": {"type": "object"},
                        },
                        "required": ["type", "method", "bodyType", "body"],
                    },
                    "output": {"type": "object"},
                },
                "required": ["input"],
            },
        },
    })
}

/// Why a payment was refused, as a code alone.
fn code(refused: &str) -> &str {
    refused.split(':').next().unwrap_or(refused)
}

/// How to pay to one of these accounts.
pub(super) fn offer(
    accounts: &[Account],
    settles: Option<Address>,
    asked: &Asked,
    resource: &Resource,
) -> Offer {
    let error = asked.refused.as_deref().map_or(REQUIRED, code);
    let asks = |account: &Account| requirement(account, asked, settles);
    let accepts: Vec<_> = accounts.iter().filter_map(asks).collect();
    let Some(first) = accounts.iter().find(|account| asks(account).is_some()) else {
        return Offer::default();
    };
    let required = json!({
        "x402Version": 2,
        "error": error,
        "resource": {"url": resource.url, "description": resource.description, "mimeType": resource.mime},
        "accepts": accepts,
        "extensions": extensions(resource),
    });
    let header = Header { name: "payment-required", value: STANDARD.encode(required.to_string()) };
    let known = KNOWN_TOKENS
        .iter()
        .find(|known| (known.network, known.contract) == (first.token.network, first.token.contract));
    let network = first.token.network;
    let network = network.short_name().map_or_else(|| network.to_string(), str::to_owned);
    let mut members = Map::new();
    let mut say = |name: &str, value: Value| members.insert(name.to_owned(), value);
    say("amount", asked.amount.to_string().into());
    say("currency", known.map_or(first.token.name.as_str(), |known| known.symbol).into());
    say("network", network.into());
    say("asset", first.token.contract.to_string().into());
    say("payTo", first.pay_to.to_string().into());
    say("error", error.into());
    let of_one: Vec<_> =
        accounts.iter().filter_map(|account| requirement_of_one(account, asked, resource)).collect();
    if !of_one.is_empty() {
        say("x402Version", 1.into());
        say("accepts", of_one.into());
    }
    Offer { headers: vec![header], members }
}
