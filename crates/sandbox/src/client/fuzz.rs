//! What holds of an interpreter's frames, whatever the bytes. Read on in [`crate::fuzz`].

use super::frames::{Frames, Reading};

/// However the bytes are cut, they tell the same end and the same displays; rubbish stays rubbish. The first byte
/// is the size of a piece.
pub fn frames(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first() else { return };
    let mut whole = Frames::default();
    let told = whole.feed(bytes);
    let mut cut = Frames::default();
    let mut told_by_pieces = Reading::Partial;
    for piece in bytes.chunks(usize::from(*size).max(1)) {
        told_by_pieces = cut.feed(piece);
        if told_by_pieces != Reading::Partial {
            break;
        }
    }
    assert_eq!(told_by_pieces, told);
    if told == Reading::Garbage {
        assert_eq!(whole.feed(&[2]), Reading::Garbage, "no frame comes after rubbish");
    }
    assert_eq!(cut.has_dropped(), whole.has_dropped());
    assert_eq!(cut.into_displays(), whole.into_displays());
}

#[cfg(test)]
mod tests {
    use super::frames;
    use crate::fuzz::near;

    #[test]
    fn frames_tell_the_same_however_they_are_cut() {
        near::holds("frames", frames);
    }
}
