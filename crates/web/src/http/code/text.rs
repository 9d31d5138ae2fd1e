//! Bytes that come in pieces, as text: a character that is cut by the end of a piece waits for the next one.

/// One stream of bytes.
#[derive(Debug, Default)]
pub(super) struct Text {
    /// The beginning of a character, at most three bytes.
    rest: Vec<u8>,
}

impl Text {
    /// The text of one more piece. What is no UTF-8 becomes U+FFFD.
    pub(super) fn push(&mut self, piece: &[u8]) -> String {
        let mut bytes = std::mem::take(&mut self.rest);
        bytes.extend_from_slice(piece);
        let mut text = String::with_capacity(bytes.len());
        let mut left = &bytes[..];
        loop {
            match str::from_utf8(left) {
                Ok(valid) => {
                    text.push_str(valid);
                    return text;
                }
                Err(error) => {
                    let (valid, after) = left.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    let Some(wrong) = error.error_len() else {
                        self.rest = after.to_vec();
                        return text;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    left = after.get(wrong..).unwrap_or_default();
                }
            }
        }
    }

    /// What was never finished.
    pub(super) fn end(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned()
    }
}

/// The text of all pieces.
#[cfg(any(test, fuzzing))]
pub(crate) fn joined<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> String {
    let mut text = Text::default();
    let mut joined: String = pieces.map(|piece| text.push(piece)).collect();
    joined.push_str(&text.end());
    joined
}

#[cfg(test)]
mod tests {
    use super::Text;

    #[test]
    fn however_it_is_cut_the_text_is_the_same() {
        let bytes = "aé𝄞".as_bytes().iter().copied().chain([0xff, b'b', 0xe2, 0x82]).collect::<Vec<_>>();
        let whole = String::from_utf8_lossy(&bytes).into_owned();
        for size in 1..=bytes.len() {
            let mut text = Text::default();
            let mut got: String = bytes.chunks(size).map(|piece| text.push(piece)).collect();
            got.push_str(&text.end());
            assert_eq!(got, whole, "in pieces of {size}");
        }
    }
}
