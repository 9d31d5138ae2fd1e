//! The `Payment-Receipt` of an answer that was paid for.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use execgate_model::UnixMs;
use serde::{Deserialize, Serialize};

use super::instant;

/// The longest receipt that is read, in bytes.
const MAX_RECEIPT_BYTES: usize = 16 * 1024;

/// The one status of a receipt: what failed has none.
const SUCCESS: &str = "success";

/// Why a text is no receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a payment receipt is base64url of a JSON object with the status `success`")]
pub struct ReceiptError;

/// That a payment was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    status: String,
    /// How it was paid.
    pub method: String,
    /// When it was taken (RFC 3339).
    pub timestamp: String,
    /// The movement: the hash of a transaction.
    pub reference: String,
    /// The challenge that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge_id: Option<String>,
    /// The run that was paid for, whose own receipt says more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_receipt: Option<String>,
}

impl Receipt {
    /// A payment that was taken by this method, at that time, in that movement.
    #[must_use]
    pub fn new(method: &str, at: UnixMs, reference: &str) -> Self {
        Self {
            status: SUCCESS.to_owned(),
            method: method.to_owned(),
            timestamp: instant::told(at),
            reference: reference.to_owned(),
            challenge_id: None,
            execution_receipt: None,
        }
    }

    /// Reads the value of the header.
    ///
    /// # Errors
    /// [`ReceiptError`] where it is none.
    pub fn read(value: &str) -> Result<Self, ReceiptError> {
        if value.len() > MAX_RECEIPT_BYTES {
            return Err(ReceiptError);
        }
        let json = URL_SAFE_NO_PAD.decode(value).map_err(|_| ReceiptError)?;
        let receipt: Self = serde_json::from_slice(&json).map_err(|_| ReceiptError)?;
        if receipt.status == SUCCESS { Ok(receipt) } else { Err(ReceiptError) }
    }
}

impl fmt::Display for Receipt {
    /// The value of the header.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_vec(self).map_err(|_| fmt::Error)?;
        f.write_str(&URL_SAFE_NO_PAD.encode(json))
    }
}

#[cfg(test)]
mod tests {
    use execgate_model::UnixMs;
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use serde_json::Value;

    use super::{Receipt, ReceiptError};

    #[test]
    fn the_receipt_of_mppx_is_read() {
        let vectors: Value = serde_json::from_str(include_str!("../../tests/vectors/mppx.json")).unwrap();
        let mut wanted = Receipt::new("evm", UnixMs(1_795_305_901_000), &format!("0x{}", "ab".repeat(32)));
        wanted.challenge_id = Some(vectors["challenges"][0]["id"].as_str().unwrap().to_owned());
        assert_eq!(Receipt::read(vectors["receipt"].as_str().unwrap()), Ok(wanted));
    }

    #[test]
    fn what_failed_has_no_receipt() {
        let failed = Receipt { status: "failed".to_owned(), ..Receipt::new("evm", UnixMs(0), "0x") };
        assert_eq!(Receipt::read(&failed.to_string()), Err(ReceiptError));
    }

    proptest! {
        #[test]
        fn a_receipt_that_is_written_is_read_again(
            method in "[a-z]{1,9}", at in 0..4_000_000_000_000_u64, reference in any::<String>(),
        ) {
            let mut receipt = Receipt::new(&method, UnixMs(at), &reference);
            receipt.execution_receipt = Some(reference);
            prop_assert_eq!(Receipt::read(&receipt.to_string()), Ok(receipt));
        }

        #[test]
        fn no_text_breaks_the_reader(text in any::<String>()) {
            drop(Receipt::read(&text));
        }
    }
}
