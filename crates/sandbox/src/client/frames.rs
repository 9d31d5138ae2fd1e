//! The framed channel on which an interpreter tells a value or an exception. Every byte of it is hostile.
//!
//! A frame is a type byte (1 value, 2 no value, 3 exception, 4 display), then its fields (one, none, three, one),
//! each a 32-bit little-endian length and UTF-8 text. Any number of displays may come before the terminal frame;
//! the first whole terminal frame is the only one; anything malformed is no frame.

use std::mem;

use crate::outcome::Exception;

/// The longest frame that is read; more is cut off by whoever writes it, or is no frame.
pub(super) const FRAME_BYTES_MAX: usize = 4 << 20;

/// All displays together, in bytes; those beyond it are dropped.
const DISPLAY_BYTES_MAX: usize = 8 << 20;

/// How many displays are kept.
const DISPLAYS_MAX: usize = 64;

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
    /// The terminal frame.
    Whole(Told),
    /// Not a frame, and nothing that follows will be one.
    Garbage,
}

/// Collects the bytes of the channel.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    garbage: bool,
    displays: Vec<String>,
    display_bytes: usize,
    dropped: bool,
    /// How many bytes of dropped displays nobody has asked for yet.
    wasted: usize,
}

/// One frame at the front of what has come.
enum Frame {
    Partial,
    Garbage,
    Terminal(Told),
    /// A display, and how long its frame is.
    Display(String, usize),
}

impl Frames {
    /// Takes more bytes, and says what they make together.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Reading {
        if self.garbage {
            return Reading::Garbage;
        }
        self.bytes.extend_from_slice(bytes);
        let mut start = 0;
        let reading = loop {
            match read(self.bytes.get(start..).unwrap_or_default()) {
                Frame::Display(text, length) => {
                    start += length;
                    if !self.show(text) {
                        self.wasted += length;
                    }
                }
                Frame::Terminal(told) => break Reading::Whole(told),
                Frame::Partial if self.bytes.len() - start <= FRAME_BYTES_MAX => break Reading::Partial,
                Frame::Partial | Frame::Garbage => break Reading::Garbage,
            }
        };
        if reading == Reading::Garbage {
            self.garbage = true;
            self.bytes = Vec::new();
        } else {
            self.bytes.drain(..start);
        }
        reading
    }

    /// Keeps a display; false where it is dropped.
    fn show(&mut self, text: String) -> bool {
        let has_room =
            self.displays.len() < DISPLAYS_MAX && self.display_bytes + text.len() <= DISPLAY_BYTES_MAX;
        if has_room {
            self.display_bytes += text.len();
            self.displays.push(text);
        }
        self.dropped |= !has_room;
        has_room
    }

    /// How many bytes of displays were dropped since the last time: a guest must not send them for ever.
    pub(super) fn take_wasted(&mut self) -> usize {
        mem::take(&mut self.wasted)
    }

    /// Whether a display was dropped.
    pub(super) fn has_dropped(&self) -> bool {
        self.dropped
    }

    /// What was displayed, in its order.
    pub(super) fn into_displays(self) -> Vec<String> {
        self.displays
    }
}

/// Looks at the lengths alone until the frame is whole: a guest that drips bytes must not make us read texts anew.
fn read(bytes: &[u8]) -> Frame {
    let Some((kind, rest)) = bytes.split_first() else { return Frame::Partial };
    let fields = match kind {
        1 | 4 => 1,
        2 => 0,
        3 => 3,
        _ => return Frame::Garbage,
    };
    let mut rest = rest;
    let mut texts = [&[][..]; 3];
    for text in texts.iter_mut().take(fields) {
        let Some((length, after)) = rest.split_first_chunk::<4>() else { return Frame::Partial };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Frame::Garbage;
        }
        let Some((field, after)) = after.split_at_checked(length) else { return Frame::Partial };
        *text = field;
        rest = after;
    }
    let [first, second, third] = texts.map(String::from_utf8_lossy);
    Frame::Terminal(match kind {
        1 => Told::Value(Some(first.into_owned())),
        2 => Told::Value(None),
        3 => Told::Exception(Exception {
            name: first.into_owned(),
            message: second.into_owned(),
            traceback: third.into_owned(),
        }),
        _ => return Frame::Display(first.into_owned(), bytes.len() - rest.len()),
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
    fn displays_come_before_the_end_in_their_order_and_within_bounds() {
        let bytes = [frame(4, &["a"]), frame(4, &["b"]), frame(2, &[]), frame(4, &["late"])].concat();
        for piece in [1, 3, bytes.len()] {
            let mut frames = Frames::default();
            let last = bytes.chunks(piece).map(|chunk| frames.feed(chunk)).find(|r| *r != Reading::Partial);
            assert_eq!(last, Some(Reading::Whole(Told::Value(None))));
            assert!(!frames.has_dropped());
            assert_eq!(frames.into_displays(), ["a", "b"]);
        }
        let mut frames = Frames::default();
        let large = "x".repeat(3 << 20);
        for _ in 0..4 {
            assert_eq!(frames.feed(&frame(4, &[&large])), Reading::Partial);
        }
        for _ in 0..100 {
            frames.feed(&frame(4, &["small"]));
        }
        // Of the large ones two are kept, of the small ones as many as there is room for: the rest was for nothing.
        let (large, small) = (frame(4, &[&large]).len(), frame(4, &["small"]).len());
        assert_eq!(frames.take_wasted(), 2 * large + (100 - 62) * small);
        assert_eq!(frames.take_wasted(), 0);
        assert!(frames.has_dropped());
        assert_eq!(frames.into_displays().len(), 64);
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
