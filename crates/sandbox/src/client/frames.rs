//! The framed channel on which an interpreter tells a value or an exception. Every byte of it is hostile.
//!
//! One frame: a type byte (1 value, 2 no value, 3 exception), then its fields (one, none, three), each a 32-bit
//! little-endian length and UTF-8 text. The first whole frame is the only one; anything malformed is no frame.

use crate::outcome::Exception;

/// The longest frame that is read; more is cut off by whoever writes it, or is no frame.
pub(super) const FRAME_BYTES_MAX: usize = 4 << 20;

/// What the guest says of its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    Value(Option<String>),
    Exception(Exception),
}

/// Where reading stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reading {
    /// More bytes are needed.
    Partial,
    /// The one frame.
    Whole(Told),
    /// Not a frame, and nothing that follows will be one.
    Garbage,
}

/// Collects the bytes of the channel.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    garbage: bool,
}

impl Frames {
    /// Takes more bytes, and says what they make together.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Reading {
        if self.garbage {
            return Reading::Garbage;
        }
        self.bytes.extend_from_slice(bytes);
        let reading = read(&self.bytes);
        if reading == Reading::Garbage || (reading == Reading::Partial && self.bytes.len() > FRAME_BYTES_MAX)
        {
            self.garbage = true;
            self.bytes = Vec::new();
            return Reading::Garbage;
        }
        reading
    }
}

/// Looks at the lengths alone until the frame is whole: a guest that drips bytes must not make us read texts anew.
fn read(bytes: &[u8]) -> Reading {
    let Some((kind, rest)) = bytes.split_first() else { return Reading::Partial };
    let fields = match kind {
        1 => 1,
        2 => 0,
        3 => 3,
        _ => return Reading::Garbage,
    };
    let mut rest = rest;
    let mut texts = [&[][..]; 3];
    for text in texts.iter_mut().take(fields) {
        let Some((length, after)) = rest.split_first_chunk::<4>() else { return Reading::Partial };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Reading::Garbage;
        }
        let Some((field, after)) = after.split_at_checked(length) else { return Reading::Partial };
        *text = field;
        rest = after;
    }
    let [first, second, third] = texts.map(|text| String::from_utf8_lossy(text));
    Reading::Whole(match kind {
        1 => Told::Value(Some(first.into_owned())),
        2 => Told::Value(None),
        _ => Told::Exception(Exception {
            name: first.into_owned(),
            message: second.into_owned(),
            traceback: third.into_owned(),
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::{Frames, Reading, Told};
    use crate::outcome::Exception;

    fn frame(kind: u8, texts: &[&str]) -> Vec<u8> {
        let mut bytes = vec![kind];
        for text in texts {
            bytes.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes
    }

    #[test]
    fn a_frame_is_read_whole_however_it_comes() {
        let bytes = frame(3, &["ValueError", "no", "Traceback"]);
        let told = Told::Exception(Exception {
            name: "ValueError".into(),
            message: "no".into(),
            traceback: "Traceback".into(),
        });
        let mut frames = Frames::default();
        for byte in &bytes[..bytes.len() - 1] {
            assert_eq!(frames.feed(&[*byte]), Reading::Partial);
        }
        assert_eq!(frames.feed(&bytes[bytes.len() - 1..]), Reading::Whole(told));
    }

    #[test]
    fn only_the_first_of_two_frames_counts() {
        let bytes = [frame(2, &[]), frame(1, &["forged"])].concat();
        assert_eq!(Frames::default().feed(&bytes), Reading::Whole(Told::Value(None)));
    }

    #[test]
    fn rubbish_and_giant_lengths_are_no_frames_for_good() {
        let mut frames = Frames::default();
        assert_eq!(frames.feed(&[9]), Reading::Garbage);
        assert_eq!(frames.feed(&frame(2, &[])), Reading::Garbage);
        assert_eq!(Frames::default().feed(&[1, 255, 255, 255, 255]), Reading::Garbage);
    }
}
