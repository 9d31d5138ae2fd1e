//! What the rail keeps of a payment: what its method takes it by, and behind which challenge it came, for the receipt.
//! Every change here needs a second reader.

/// How what has the id of a challenge begins. What a method keeps begins otherwise: it is JSON.
const TAG: &[u8] = b"mpp1\0";

/// What is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept<'k> {
    /// The id of the challenge; none where an earlier release kept it.
    pub(super) challenge: Option<&'k str>,
    /// What the method has kept. It is money.
    pub(super) state: &'k [u8],
}

impl<'k> Kept<'k> {
    /// Reads it. What has no tag is a method's own.
    pub(super) fn read(bytes: &'k [u8]) -> Self {
        Self::tagged(bytes).unwrap_or(Self { challenge: None, state: bytes })
    }

    fn tagged(bytes: &'k [u8]) -> Option<Self> {
        let (length, rest) = bytes.strip_prefix(TAG)?.split_first()?;
        let (id, state) = rest.split_at_checked(usize::from(*length))?;
        Some(Self { challenge: Some(str::from_utf8(id).ok()?), state })
    }

    /// The bytes. An id that is longer than any of ours is left out.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let id = self.challenge.and_then(|id| Some((u8::try_from(id.len()).ok()?, id)));
        match id {
            Some((length, id)) => [TAG, &[length], id.as_bytes(), self.state].concat(),
            None => self.state.to_vec(),
        }
    }
}

/// What a method has kept, of what this rail or another keeps of a payment.
pub(crate) fn kept_by_method(bytes: &[u8]) -> &[u8] {
    Kept::read(bytes).state
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::{Kept, TAG};

    #[test]
    fn what_an_earlier_release_has_kept_is_its_method_s() {
        let old = Kept::read(b"{\"a\":1}");
        assert!(old.challenge.is_none() && old.state == b"{\"a\":1}");
        let long = "x".repeat(256);
        let kept = Kept { challenge: Some(&long), state: b"{}" }.to_bytes();
        assert_eq!(kept, b"{}");
    }

    proptest! {
        #[test]
        fn what_is_kept_is_read_again(id in "[A-Za-z0-9_-]{0,255}", state in any::<Vec<u8>>()) {
            let kept = Kept { challenge: Some(&id), state: &state };
            prop_assert!(Kept::read(&kept.to_bytes()) == kept);
        }

        #[test]
        fn no_bytes_break_the_reader(bytes in any::<Vec<u8>>()) {
            Kept::read(&bytes);
            Kept::read(&[TAG, &bytes].concat());
        }
    }
}
