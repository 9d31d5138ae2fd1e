//! What came back, within bounds.

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, HeaderMap, SET_COOKIE, TRANSFER_ENCODING};
use serde_json::{Map, Value};

use crate::arguments::shown;
use crate::compute::Raised;

/// What stops a text from being shown as one: more than one control character in so many.
const CONTROLS_PER: usize = 16;

/// The body of an answer, cut to a bound; true if it was cut.
pub(crate) async fn read(mut body: Incoming, bytes_max: usize) -> Result<(Vec<u8>, bool), Raised> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Raised::new("BadAnswer", "the server broke off its answer"))?;
        let Ok(data) = frame.into_data() else { continue };
        let room = bytes_max - bytes.len();
        bytes.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return Ok((bytes, true));
        }
    }
    Ok((bytes, false))
}

/// An answer in an encoding is refused: none was asked for, and none is undone.
pub(crate) fn refuse_encoded(headers: &HeaderMap) -> Result<(), Raised> {
    let contents = headers.get_all(CONTENT_ENCODING).iter().map(|value| (value, "identity"));
    let transfers = headers.get_all(TRANSFER_ENCODING).iter().map(|value| (value, "chunked"));
    for (value, plain) in contents.chain(transfers) {
        let encoding = String::from_utf8_lossy(value.as_bytes());
        if !encoding.eq_ignore_ascii_case(plain) {
            let encoding = shown(&encoding);
            let message =
                format!("the server answered in the encoding `{encoding}`, which was not asked for");
            return Err(Raised::new("BadAnswer", message));
        }
    }
    Ok(())
}

/// The headers as a caller sees them; cookies are the gateway's own business.
pub(crate) fn shown_headers(headers: &HeaderMap) -> Map<String, Value> {
    let mut shown = Map::new();
    for name in headers.keys().filter(|name| **name != SET_COOKIE) {
        let values = headers.get_all(name).iter();
        let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        shown.insert(name.to_string(), values.join(", ").into());
    }
    shown
}

/// The bytes as text, where they are text; a character that was cut is left out.
pub(crate) fn text(bytes: &[u8], is_cut: bool) -> Option<&str> {
    let text = match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if is_cut && error.error_len().is_none() => {
            str::from_utf8(bytes.get(..error.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    let is_control = |byte: &u8| byte.is_ascii_control() && !matches!(*byte, b'\n' | b'\r' | b'\t');
    (text.bytes().filter(is_control).count() * CONTROLS_PER <= text.len()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn text_is_text_and_the_rest_is_not() {
        assert_eq!(text("é\n".as_bytes(), false), Some("é\n"));
        assert_eq!(text(&"aé".as_bytes()[..2], true), Some("a"));
        assert_eq!(text(&"aé".as_bytes()[..2], false), None);
        assert_eq!(text(b"\xff", true), None);
        assert_eq!(text(b"\0\0\0", false), None);
    }
}
