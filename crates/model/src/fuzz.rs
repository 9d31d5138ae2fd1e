//! What holds of names and amounts, whatever text they are read from. Fuzz targets and a property test call it.

use core::fmt::{Debug, Display};
use core::str::{self, FromStr};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{ActionName, Amount, Digest, GrantId, Nonce, RuleId, RunId, TenantId};

/// Names keep their spelling, amounts and ids have one of their own, and each is the same through text and JSON.
pub fn names(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let kept = [
        reads_back::<ActionName>(text),
        reads_back::<Nonce>(text),
        reads_back::<TenantId>(text),
        reads_back::<GrantId>(text),
        reads_back::<RuleId>(text),
        reads_back::<Digest>(text),
    ];
    assert!(kept.into_iter().flatten().all(|written| written == text));
    reads_back::<RunId>(text);
    let amount = reads_back::<Amount>(text);
    assert!(amount.is_none_or(|written| written.trim_end_matches('0') == shortest(text)));
}

/// The text of what was read, if this is one.
fn reads_back<T>(text: &str) -> Option<String>
where
    T: FromStr + Display + Debug + PartialEq + Serialize + DeserializeOwned,
{
    let read: T = text.parse().ok()?;
    let written = read.to_string();
    assert_eq!(written.parse().ok().as_ref(), Some(&read));
    let json = serde_json::to_string(&read).ok();
    assert_eq!(json.and_then(|json| serde_json::from_str(&json).ok()).as_ref(), Some(&read));
    Some(written)
}

/// A decimal number without the zeros that say nothing.
fn shortest(text: &str) -> String {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let whole = whole.trim_start_matches('0');
    format!("{}.{}", if whole.is_empty() { "0" } else { whole }, decimals.trim_end_matches('0'))
}

#[cfg(test)]
#[path = "../../../fuzz/near.rs"]
mod near;

#[cfg(test)]
mod tests {
    use super::{names, near};

    #[test]
    fn names_and_amounts_read_back_what_they_write() {
        near::holds("names", names);
    }
}
