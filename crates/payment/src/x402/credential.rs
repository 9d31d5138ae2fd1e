//! Reading what a client sends: base64 of the JSON of version 2 or 1. Bounded and strict in form; what is null is absent.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::code;
use crate::HoldError;
use crate::evm::{Address, ChainId, Means, Signature, U256, from_hex};

/// The longest credential, in bytes of its base64.
const LENGTH_MAX: usize = 16 << 10;

/// The id of the extension by which a client names its payment.
pub(super) const IDENTIFIER: &str = "payment-identifier";

/// The member of a payload that Permit2 moves.
const PERMIT: &str = "permit2Authorization";

/// The shortest and the longest name of a payment.
const IDENTIFIER_LENGTHS: core::ops::RangeInclusive<usize> = 16..=128;

/// Base64, whether its padding is there or not.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A payment as it was sent, read and not believed.
pub(super) struct Shown {
    pub(super) network: ChainId,
    /// The token, where the version says it.
    pub(super) asset: Option<Address>,
    pub(super) from: Address,
    pub(super) to: Address,
    pub(super) value: U256,
    pub(super) valid_after: U256,
    pub(super) valid_before: U256,
    pub(super) nonce: [u8; 32],
    pub(super) by: Means,
    pub(super) signature: Signature,
    /// What the client says it accepted, where the version has it say so.
    pub(super) accepted: Option<Accepted>,
    /// For what the client says it pays.
    pub(super) resource_url: Option<String>,
    extensions: Map<String, Value>,
}

/// One of the offers, as a client gives it back.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Accepted {
    pub(super) scheme: String,
    pub(super) network: String,
    pub(super) amount: String,
    pub(super) asset: String,
    pub(super) pay_to: String,
    pub(super) max_timeout_seconds: u64,
    pub(super) extra: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Versioned {
    x402_version: u64,
}

#[derive(Deserialize)]
struct Two {
    payload: Map<String, Value>,
    accepted: Accepted,
    resource: Option<Named>,
    extensions: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct One {
    scheme: String,
    network: String,
    payload: Map<String, Value>,
}

#[derive(Deserialize)]
struct Named {
    url: Option<String>,
}

#[derive(Deserialize)]
struct Exact {
    signature: String,
    authorization: Authorized,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authorized {
    from: Address,
    to: Address,
    value: U256,
    valid_after: U256,
    valid_before: U256,
    nonce: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Permitted {
    signature: String,
    permit2_authorization: Permit,
}

/// What Permit2 is shown, in the words of x402.
#[derive(Deserialize)]
struct Permit {
    from: Address,
    permitted: Tokens,
    spender: Address,
    nonce: U256,
    deadline: U256,
    witness: Witness,
}

#[derive(Deserialize)]
struct Tokens {
    token: Address,
    amount: U256,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Witness {
    to: Address,
    facilitator: Option<Address>,
    valid_after: U256,
}

/// How much of what is signed is taken: all of it, or as much as the work comes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Exact,
    UpTo,
}

impl Scheme {
    fn read(name: &str) -> Result<Self, HoldError> {
        match name {
            "exact" => Ok(Self::Exact),
            "upto" => Ok(Self::UpTo),
            _ => Err(refused(code::SCHEME, "the schemes that are taken here are exact and upto")),
        }
    }
}

fn malformed(reason: impl core::fmt::Display) -> HoldError {
    HoldError::Malformed(format!("{}: {reason}", code::PAYLOAD))
}

/// A refusal by its code.
pub(super) fn refused(code: &str, reason: impl core::fmt::Display) -> HoldError {
    HoldError::Refused(format!("{code}: {reason}"))
}

impl Shown {
    /// Reads a credential.
    ///
    /// # Errors
    /// [`HoldError::Malformed`] for what has no form, [`HoldError::Refused`] for what is not taken here.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, HoldError> {
        if bytes.len() > LENGTH_MAX {
            return Err(malformed("it is longer than 16 KiB"));
        }
        let json = LENIENT.decode(bytes).map_err(|_| malformed("it is not base64"))?;
        let version: Versioned = parsed(&json)?;
        match version.x402_version {
            2 => Self::of_two(parsed(&json)?),
            1 => Self::of_one(parsed(&json)?),
            _ => Err(refused(code::VERSION, "versions 1 and 2 are taken here")),
        }
    }

    fn of_two(two: Two) -> Result<Self, HoldError> {
        let scheme = Scheme::read(&two.accepted.scheme)?;
        let is_permit = two.payload.get(PERMIT).is_some_and(|value| !value.is_null());
        let network = two.accepted.network.parse().map_err(|error| refused(code::NETWORK, error))?;
        let asset = two.accepted.asset.parse().map_err(malformed)?;
        let extensions = two.extensions.unwrap_or_default();
        let resource_url = two.resource.and_then(|resource| resource.url);
        let shown = if is_permit || scheme == Scheme::UpTo {
            Self::of_permit(network, asset, scheme, two.payload)?
        } else {
            Self::of_payload(network, two.payload)?
        };
        Ok(Self { asset: Some(asset), accepted: Some(two.accepted), resource_url, extensions, ..shown })
    }

    fn of_one(one: One) -> Result<Self, HoldError> {
        if Scheme::read(&one.scheme)? != Scheme::Exact {
            return Err(refused(code::SCHEME, "version 1 has the scheme exact here"));
        }
        let network = ChainId::by_short_name(&one.network)
            .ok_or_else(|| refused(code::NETWORK, "this name is of no network that is taken here"))?;
        if one.payload.get(PERMIT).is_some_and(|value| !value.is_null()) {
            return Err(refused(code::SCHEME, "Permit2 is for version 2; authorize by EIP-3009"));
        }
        Self::of_payload(network, one.payload)
    }

    /// What Permit2 moves. It may be permitted to whom it likes, but it pays here by the proxy of the scheme alone.
    fn of_permit(
        network: ChainId,
        asset: Address,
        scheme: Scheme,
        payload: Map<String, Value>,
    ) -> Result<Self, HoldError> {
        let permitted: Permitted = serde_json::from_value(Value::Object(payload)).map_err(form)?;
        let Permit { from, permitted: Tokens { token, amount }, spender, nonce, deadline, witness } =
            permitted.permit2_authorization;
        let by = match (scheme, witness.facilitator) {
            (Scheme::Exact, _) => Means::Permit2,
            (Scheme::UpTo, Some(facilitator)) => Means::UpTo { facilitator, taken: None },
            (Scheme::UpTo, None) => return Err(malformed("the witness names no facilitator")),
        };
        if by.proxy() != Some(spender) {
            return Err(refused(code::SPENDER, "it is permitted to another than the proxy of this scheme"));
        }
        if token != asset {
            return Err(refused(code::TOKEN, "another token is permitted than was accepted"));
        }
        let wrong = |error| refused(code::signed(&by).signature, error);
        let signature = Signature::parse(&permitted.signature).map_err(wrong)?;
        Ok(Self {
            network,
            asset: None,
            from,
            to: witness.to,
            value: amount,
            valid_after: witness.valid_after,
            valid_before: deadline,
            nonce: *nonce.as_bytes(),
            by,
            signature,
            accepted: None,
            resource_url: None,
            extensions: Map::new(),
        })
    }

    fn of_payload(network: ChainId, payload: Map<String, Value>) -> Result<Self, HoldError> {
        if payload.get("delegationManager").is_some_and(|value| !value.is_null()) {
            return Err(refused(code::SCHEME, "ERC-7710 is not taken here; authorize by EIP-3009"));
        }
        let exact: Exact = serde_json::from_value(Value::Object(payload)).map_err(form)?;
        let Authorized { from, to, value, valid_after, valid_before, nonce } = exact.authorization;
        let nonce = from_hex(&nonce, 32).ok().and_then(|bytes| bytes.try_into().ok());
        let nonce = nonce.ok_or_else(|| malformed("the nonce is not 0x and 64 hexadecimal digits"))?;
        let by = Means::Token;
        let wrong = |error| refused(code::signed(&by).signature, error);
        let signature = Signature::parse(&exact.signature).map_err(wrong)?;
        Ok(Self {
            network,
            asset: None,
            from,
            to,
            value,
            valid_after,
            valid_before,
            nonce,
            by,
            signature,
            accepted: None,
            resource_url: None,
            extensions: Map::new(),
        })
    }

    /// The client's own name for its payment, where it gives one.
    ///
    /// # Errors
    /// [`HoldError::Malformed`] where that is none.
    pub(super) fn identifier(&self) -> Result<Option<&str>, HoldError> {
        let Some(info) = self.extensions.get(IDENTIFIER).and_then(|extension| extension.get("info")) else {
            return Ok(None);
        };
        if info.get("required").is_some_and(|required| !matches!(required, Value::Null | Value::Bool(false)))
        {
            return Err(refused(code::ECHO, "no payment identifier is required here"));
        }
        match info.get("id") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(id)) if is_identifier(id) => Ok(Some(id)),
            Some(_) => Err(malformed("a payment identifier is 16 to 128 of A-Z, a-z, 0-9, _ and -")),
        }
    }
}

/// Reads a credential for whoever only wants to know that it can be.
#[cfg(any(test, fuzzing))]
pub(crate) fn read(bytes: &[u8]) -> Result<(), HoldError> {
    Shown::read(bytes)?.identifier().map(drop)
}

fn is_identifier(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    IDENTIFIER_LENGTHS.contains(&id.len()) && id.bytes().all(plain)
}

fn parsed<T: for<'a> Deserialize<'a>>(json: &[u8]) -> Result<T, HoldError> {
    serde_json::from_slice(json).map_err(form)
}

/// What is wrong with a JSON, without a byte of it: it may hold a signature.
fn form(error: serde_json::Error) -> HoldError {
    if error.is_data() {
        malformed("a field is missing, or is not what it should be")
    } else {
        malformed("it is not JSON")
    }
}
