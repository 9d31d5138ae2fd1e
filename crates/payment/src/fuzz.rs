//! What holds of payments, whatever is sent as one. Fuzz targets and a property test call it.

use core::str;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::HoldError;
use crate::evm::{Address, ChainId, Signature, U256};
use crate::x402::read;

/// What chains write keeps its one form, and a signature has one.
pub fn chain_texts(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(address) = text.parse::<Address>() {
        assert_eq!((address.to_string().parse(), address.to_lowercase().parse()), (Ok(address), Ok(address)));
    }
    if let Ok(chain) = text.parse::<ChainId>() {
        assert_eq!(chain.to_string(), text);
    }
    if let Ok(number) = text.parse::<U256>() {
        assert_eq!(number.to_string(), text);
    }
    if let Ok(signature) = Signature::parse(text) {
        assert!(matches!(signature.v(), 27 | 28));
        assert_ne!(signature.signer(&[7; 32]), Ok(Address::ZERO));
    }
}

/// A payment of x402 is read or refused by a code, and nothing that is said of it holds what was sent.
pub fn x402_payment(bytes: &[u8]) {
    for sent in [bytes.to_vec(), STANDARD.encode(bytes).into_bytes()] {
        match read(&sent) {
            Ok(()) => {}
            Err(HoldError::Malformed(reason) | HoldError::Refused(reason)) => {
                assert!(reason.len() < 300 && reason.contains(": "), "{reason}");
            }
            Err(HoldError::Required | HoldError::Unavailable { .. }) => unreachable!("reading asks nobody"),
        }
    }
}

#[cfg(test)]
#[path = "../../../fuzz/near.rs"]
mod near;

#[cfg(test)]
mod tests {
    use super::{chain_texts, near, x402_payment};

    #[test]
    fn chain_texts_keep_their_form() {
        near::holds("chain_texts", chain_texts);
    }

    #[test]
    fn payments_are_read_or_refused() {
        near::holds("x402_payment", x402_payment);
    }
}
