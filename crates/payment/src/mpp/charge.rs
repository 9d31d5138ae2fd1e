//! The method `evm` with the intent `charge`: a request for tokens, and an authorization of their transfer in return.
//! Every change here needs a second reader.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Credential;
use crate::evm::{Address, Authorization, ChainId, Means, Signature, Token, U256, from_hex, keccak256};

/// The name of the method.
pub const METHOD: &str = "evm";

/// The name of the intent.
pub const INTENT: &str = "charge";

/// The one type of credential that is taken: EIP-3009. It is also the only one that the clients of others can make.
const CREDENTIAL_TYPE: &str = "authorization";

/// How long a nonce is, in bytes.
const NONCE_BYTES: usize = 32;

/// Why a payload pays nothing. Nothing of it is in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Not of the form.
    #[error("the payload is not the authorization of a transfer (EIP-3009): {0}")]
    Form(&'static str),
    /// It pays otherwise.
    #[error("the payload has the type `{CREDENTIAL_TYPE}`; no other is taken")]
    Type,
    /// Somebody else has signed it, or something else was signed.
    #[error("the signature is not that of the payer over this authorization")]
    Signature,
}

/// The request in its canonical form: members in the order of their names.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    amount: U256,
    currency: Address,
    method_details: Details,
    recipient: Address,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    chain_id: u64,
    credential_types: [&'static str; 1],
    decimals: u8,
}

/// The parameter `request` of a challenge for so many units of a token, to be paid to that account.
#[must_use]
pub fn request(token: &Token, units: U256, pay_to: Address) -> String {
    let request = Request {
        amount: units,
        currency: token.contract,
        method_details: Details {
            chain_id: token.network.number(),
            credential_types: [CREDENTIAL_TYPE],
            decimals: token.decimals,
        },
        recipient: pay_to,
    };
    // A struct of texts and numbers always has a JSON text.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&request).unwrap_or_default())
}

/// The nonces that bind an authorization to its challenge. Clients do not agree: the draft and mppx hash `id` and `realm`
/// one behind the other, pympp hashes them as a JSON array. Either binds, and the token takes each once.
#[must_use]
pub fn nonces(id: &str, realm: &str) -> [[u8; NONCE_BYTES]; 2] {
    let joined = format!("{id}{realm}");
    let array = serde_json::to_vec(&[id, realm]).unwrap_or_default();
    [keccak256(joined.as_bytes()), keccak256(&array)]
}

/// Who pays, as a client names it (`did:pkh`).
#[must_use]
pub fn source(network: ChainId, payer: Address) -> String {
    format!("did:pkh:{network}:{payer}")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    from: Address,
    to: Address,
    value: U256,
    valid_after: U256,
    valid_before: U256,
    nonce: String,
    signature: String,
}

/// The authorization in a credential, whose signature is its payer's over a transfer of this token. That it fits what is
/// asked for is not said.
///
/// # Errors
/// [`PayloadError`] where it is none, or nobody's.
pub fn authorization(credential: &Credential, token: &Token) -> Result<Authorization, PayloadError> {
    match credential.payload.get("type").and_then(Value::as_str) {
        Some(CREDENTIAL_TYPE) => {}
        Some(_) => return Err(PayloadError::Type),
        None => return Err(PayloadError::Form("it has no `type`")),
    }
    let Ok(payload) = Payload::deserialize(&credential.payload) else {
        let members = "`from`, `to`, `value`, `validAfter`, `validBefore`, `nonce` and `signature` are texts";
        return Err(PayloadError::Form(members));
    };
    let nonce = from_hex(&payload.nonce, NONCE_BYTES).ok().and_then(|nonce| nonce.try_into().ok());
    let nonce = nonce.ok_or(PayloadError::Form("`nonce` has 32 bytes"))?;
    let signature = Signature::parse(&payload.signature).map_err(|_| PayloadError::Signature)?;
    let authorization = Authorization {
        token: token.clone(),
        from: payload.from,
        to: payload.to,
        value: payload.value,
        valid_after: payload.valid_after,
        valid_before: payload.valid_before,
        nonce,
        by: Means::Token,
        signature,
    };
    authorization.verify().map_err(|_| PayloadError::Signature)?;
    Ok(authorization)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};
    use serde_json::{Value, json};

    use super::{PayloadError, authorization, nonces, request, source};
    use crate::evm::{ChainId, KnownToken, Token, U256};
    use crate::mpp::{Credential, find};

    fn usdc() -> Token {
        KnownToken::find("USDC", ChainId::BASE_SEPOLIA).unwrap()
    }

    fn cases() -> Vec<(usize, Credential)> {
        let files =
            [include_str!("../../tests/vectors/mppx.json"), include_str!("../../tests/vectors/pympp.json")];
        let mut cases = Vec::new();
        for (formula, file) in files.into_iter().enumerate() {
            let vectors: Value = serde_json::from_str(file).unwrap();
            for case in vectors["challenges"].as_array().unwrap() {
                let Some(text) = case["credential"].as_str() else { continue };
                cases.push((formula, Credential::read(find([text]).unwrap().unwrap()).unwrap()));
            }
        }
        cases
    }

    #[test]
    fn what_mppx_and_pympp_sign_verifies_under_the_nonce_of_each() {
        for (formula, credential) in cases() {
            let authorization = authorization(&credential, &usdc()).unwrap();
            assert_eq!(authorization.nonce, nonces(&credential.id, &credential.challenge.realm)[formula]);
            assert_eq!(credential.source, Some(source(ChainId::BASE_SEPOLIA, authorization.from)));
            let asked = request(&usdc(), authorization.value, authorization.to);
            assert_eq!(asked, credential.challenge.request);
            assert_eq!(authorization.value, U256::from(20_000));
        }
    }

    #[test]
    fn the_two_nonces_of_one_challenge_differ_and_neither_is_anothers() {
        let [joined, array] = nonces("id", "realm");
        assert_ne!(joined, array);
        assert!(!nonces("idr", "ealm").contains(&array));
    }

    #[test]
    fn what_is_signed_for_another_token_is_nobodys() {
        let (_, credential) = cases().remove(0);
        let base = KnownToken::find("USDC", ChainId::BASE).unwrap();
        assert_eq!(authorization(&credential, &base).map(drop), Err(PayloadError::Signature));
    }

    #[test]
    fn a_payload_of_another_type_or_form_is_refused() {
        let (_, mut credential) = cases().remove(0);
        let good = credential.payload.clone();
        let mut told = |change: &dyn Fn(&mut Value)| {
            credential.payload = good.clone();
            change(&mut credential.payload);
            authorization(&credential, &usdc()).map(drop)
        };
        assert_eq!(told(&|payload| payload["type"] = json!("permit2")), Err(PayloadError::Type));
        assert_eq!(told(&|payload| payload["signature"] = json!("0x00")), Err(PayloadError::Signature));
        assert_eq!(told(&|payload| payload["value"] = json!("20001")), Err(PayloadError::Signature));
        let forms: [&dyn Fn(&mut Value); 5] = [
            &|payload| *payload = json!("text"),
            &|payload| payload["value"] = json!(20000),
            &|payload| payload["value"] = json!("-1"),
            &|payload| payload["nonce"] = json!("0x00"),
            &|payload| payload["from"] = json!(null),
        ];
        for form in forms {
            assert!(matches!(told(form), Err(PayloadError::Form(_))));
        }
    }

    proptest! {
        #[test]
        fn a_changed_authorization_is_nobodys(digit in 0_usize..128, name in 0_usize..3) {
            let (_, mut credential) = cases().remove(0);
            let name = ["signature", "nonce", "to"][name];
            let text = credential.payload[name].as_str().unwrap().to_lowercase();
            let at = 2 + digit % (text.len() - 4);
            let other = if &text[at..=at] == "1" { "2" } else { "1" };
            credential.payload[name] = json!(format!("{}{other}{}", &text[..at], &text[at + 1..]));
            prop_assert!(authorization(&credential, &usdc()).is_err());
        }

        #[test]
        fn no_text_breaks_the_nonces(id in any::<String>(), realm in any::<String>()) {
            let [joined, array] = nonces(&id, &realm);
            prop_assert!(joined != array);
        }
    }
}
