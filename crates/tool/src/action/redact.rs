//! Takes secrets out of what comes back. An upstream that echoes its request (an error page, a debugging aid) must not
//! tell a caller what it was sent; one that means to tell can always find a spelling that nobody looks for.
//!
//! Looked for is a secret as it is, in any mixture of percent, JSON and HTML escapes, in capitals or not; in base64 of both
//! alphabets and at every offset; in hexadecimal; and, of a secret that is base64 itself, what it stands for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use zeroize::Zeroizing;

use super::secret::Secret;

/// How far behind the last byte that is kept an answer is read, in bytes, so that a secret which begins before it is seen
/// whole: the longest secret in base64, each letter of which is escaped by six.
pub(super) const BEHIND: usize = 32 << 10;

/// The longest escape of a byte: `\u0041`, and `&#x0041;` with a few zeros more.
const ESCAPE_MAX: usize = 10;

/// The most backslashes before a byte: JSON in JSON in JSON.
const ESCAPES_MAX: usize = 8;

/// How the bytes of a trace are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// Capitals are as good as small letters.
    Letters,
    /// Capitals are others; `-` is `+` and `_` is `/`. The letters around it may hold bits of it.
    Base64,
}

/// One spelling of a secret.
struct Trace {
    bytes: Zeroizing<Vec<u8>>,
    spelling: Spelling,
    instead: String,
}

/// Finds some secrets.
pub(crate) struct Redactor {
    traces: Vec<Trace>,
    /// Whether a byte can begin a trace.
    begins: [bool; 256],
}

impl Redactor {
    pub(crate) fn of<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let traces: Vec<_> = secrets.into_iter().flat_map(traces).collect();
        let mut begins = [false; 256];
        for byte in 0..=u8::MAX {
            let escapes = matches!(byte, b'%' | b'\\' | b'&' | b'+');
            let is_first =
                |trace: &Trace| trace.bytes.first().is_some_and(|first| trace.spelling.is(byte, *first));
            begins[usize::from(byte)] = !traces.is_empty() && (escapes || traces.iter().any(is_first));
        }
        Self { traces, begins }
    }

    /// The first `keep` bytes without secrets; one that begins within them may end behind.
    pub(super) fn clean(&self, bytes: &[u8], keep: usize) -> Vec<u8> {
        let keep = keep.min(bytes.len());
        let mut cleaned = Vec::with_capacity(keep);
        let mut at = 0;
        while at < keep {
            let byte = bytes[at];
            let found = if self.begins[usize::from(byte)] { self.longest(bytes, at) } else { None };
            let Some((trace, mut end)) = found else {
                cleaned.push(byte);
                at += 1;
                continue;
            };
            if trace.spelling == Spelling::Base64 {
                // The letters beside it hold some bits.
                if cleaned.last().is_some_and(|letter| is_base64(*letter)) {
                    cleaned.pop();
                }
                end += usize::from(bytes.get(end).is_some_and(|letter| is_base64(*letter)));
            }
            cleaned.extend_from_slice(trace.instead.as_bytes());
            at = end;
        }
        cleaned
    }

    /// A text without secrets.
    pub(crate) fn clean_text(&self, text: &str) -> String {
        // Only ASCII is taken out, and only ASCII is put in.
        String::from_utf8_lossy(&self.clean(text.as_bytes(), text.len())).into_owned()
    }

    /// A value without secrets: what was escaped twice is escaped once in it.
    pub(crate) fn clean_value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => self.clean_text(&text).into(),
            Value::Array(items) => items.into_iter().map(|item| self.clean_value(item)).collect(),
            Value::Object(members) => {
                let clean =
                    |(name, member): (String, Value)| (self.clean_text(&name), self.clean_value(member));
                Value::Object(members.into_iter().map(clean).collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value,
        }
    }

    fn longest(&self, bytes: &[u8], at: usize) -> Option<(&Trace, usize)> {
        let found = self.traces.iter().filter_map(|trace| Some((trace, trace.end(bytes, at)?)));
        found.max_by_key(|(_, end)| *end)
    }
}

impl Spelling {
    fn is(self, found: u8, wanted: u8) -> bool {
        match self {
            Self::Letters => found.eq_ignore_ascii_case(&wanted),
            Self::Base64 => {
                let plain = |letter| match letter {
                    b'-' => b'+',
                    b'_' => b'/',
                    other => other,
                };
                plain(found) == plain(wanted)
            }
        }
    }
}

impl Trace {
    /// Where it ends, if it stands here in any mixture of escapes.
    fn end(&self, bytes: &[u8], at: usize) -> Option<usize> {
        let (mut ends, mut next) = (vec![at], Vec::new());
        for (number, wanted) in self.bytes.iter().enumerate() {
            if number > 0 && self.spelling == Spelling::Base64 {
                // Mail breaks it into lines.
                let behind = |end: &usize| bytes.get(*end..).and_then(line_end).map(|length| end + length);
                let more: Vec<usize> = ends.iter().filter_map(behind).collect();
                ends.extend(more);
            }
            for end in &ends {
                self.spelling.after(bytes.get(*end..).unwrap_or_default(), *wanted, |length| {
                    if !next.contains(&(end + length)) {
                        next.push(end + length);
                    }
                });
            }
            if next.is_empty() {
                return None;
            }
            ends.clear();
            core::mem::swap(&mut ends, &mut next);
        }
        ends.into_iter().max()
    }
}

impl Spelling {
    /// Calls with the length of each spelling of a byte that stands at the head of a text.
    fn after(self, text: &[u8], wanted: u8, mut call: impl FnMut(usize)) {
        let Some(first) = text.first() else { return };
        if self.is(*first, wanted) {
            call(1);
        }
        match first {
            b'+' if wanted == b' ' => call(1),
            b'%' => {
                // A URL within a URL escapes the escapes: `%252F`, `%25252F`.
                for again in 0..=NESTED_MAX {
                    let skipped = 1 + 2 * again;
                    if text.get(1..skipped).is_none_or(|digits| digits.chunks(2).any(|two| two != b"25")) {
                        break;
                    }
                    if hex(text.get(skipped..skipped + 2)).is_some_and(|byte| self.is(byte, wanted)) {
                        call(skipped + 2);
                    }
                }
            }
            b'\\' => {
                // JSON within JSON escapes the escapes.
                let most = text.iter().take(ESCAPES_MAX).take_while(|byte| **byte == b'\\').count();
                for many in 1..=most {
                    let rest = &text[many..];
                    if rest
                        .first()
                        .is_some_and(|byte| !byte.is_ascii_alphanumeric() && self.is(*byte, wanted))
                    {
                        call(many + 1);
                    }
                    let digits = rest.strip_prefix(b"u00").and_then(|digits| hex(digits.get(..2)));
                    if digits.is_some_and(|byte| self.is(byte, wanted)) {
                        call(many + 5);
                    }
                }
            }
            b'&' => {
                // HTML within HTML likewise: `&amp;quot;`.
                for again in 0..=NESTED_MAX {
                    let skipped = 1 + AGAIN.len() * again;
                    let inner = text.get(skipped..).unwrap_or_default();
                    if text
                        .get(1..skipped)
                        .is_none_or(|names| names.chunks(AGAIN.len()).any(|name| name != AGAIN))
                    {
                        break;
                    }
                    let length = inner.iter().take(ESCAPE_MAX).position(|byte| *byte == b';');
                    let entity = length.and_then(|end| Some((entity(inner.get(..end)?)?, end + 1)));
                    if let Some((_, length)) = entity.filter(|(byte, _)| self.is(*byte, wanted)) {
                        call(skipped + length);
                    }
                }
            }
            _ => {}
        }
    }
}

/// How long the end of a line is that a text begins with, written as it is or as JSON does.
fn line_end(text: &[u8]) -> Option<usize> {
    let ends: [&[u8]; 5] = [b"\r\n", b"\n", b"\r", b"\\r\\n", b"\\n"];
    ends.into_iter().find(|end| text.starts_with(end)).map(<[u8]>::len)
}

fn hex(digits: Option<&[u8]>) -> Option<u8> {
    let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

/// The byte that an entity of HTML stands for, without `&` and `;`.
fn entity(name: &[u8]) -> Option<u8> {
    let name = str::from_utf8(name).ok()?;
    if let Some(digits) = name.strip_prefix("#x").or_else(|| name.strip_prefix("#X")) {
        return u8::from_str_radix(digits, 16).ok();
    }
    if let Some(digits) = name.strip_prefix('#') {
        return digits.parse().ok();
    }
    match name {
        "amp" => Some(b'&'),
        "lt" => Some(b'<'),
        "gt" => Some(b'>'),
        "quot" => Some(b'"'),
        "apos" => Some(b'\''),
        _ => None,
    }
}

fn is_base64(letter: u8) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, b'+' | b'/' | b'-' | b'_')
}

/// How often an escape may itself be escaped, beside once.
const NESTED_MAX: usize = 3;

/// What `&` becomes behind itself where HTML is escaped again.
const AGAIN: &[u8] = b"amp;";

/// Every spelling that a secret is looked for in.
fn traces(secret: &Secret) -> Vec<Trace> {
    let instead = secret.reference();
    let text = secret.reveal().as_bytes();
    let decoded = STANDARD.decode(text.rsplit(|byte| *byte == b' ').next().unwrap_or(text)).ok();
    let decoded = decoded.filter(|decoded| decoded.len() >= DECODED_MIN).map(Zeroizing::new);
    let mut traces = Vec::new();
    for text in [Some(text), decoded.as_ref().map(|decoded| decoded.as_slice())].into_iter().flatten() {
        let digits: String = text.iter().map(|byte| format!("{byte:02x}")).collect();
        let letters = [text.to_vec(), digits.into_bytes()].map(|bytes| (bytes, Spelling::Letters));
        let encoded = (0..3).map(|offset| (in_base64(text, offset), Spelling::Base64));
        traces.extend(letters.into_iter().chain(encoded).map(|(bytes, spelling)| Trace {
            bytes: Zeroizing::new(bytes),
            spelling,
            instead: instead.clone(),
        }));
    }
    traces
}

/// What a secret of base64 stands for is looked for from this length on, in bytes; shorter words are in every answer.
const DECODED_MIN: usize = 8;

/// The letters of base64 that hold nothing but this text, where it begins so many bytes behind a whole group.
fn in_base64(text: &[u8], offset: usize) -> Vec<u8> {
    let padded = Zeroizing::new([&vec![0; offset], text].concat());
    let encoded = Zeroizing::new(STANDARD.encode(padded.as_slice()));
    let (first, end) = ((offset * 8).div_ceil(6), padded.len() * 8 / 6);
    encoded.as_bytes().get(first..end).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use proptest::prelude::{any, prop};
    use proptest::{prop_assert, prop_assert_eq, proptest};
    use zeroize::Zeroizing;

    use super::{Redactor, Secret};

    const TEXT: &str = "s3cr3t/of+the \"test\"<&>%25";

    fn secret(text: &str) -> Secret {
        Secret::new("K", Zeroizing::new(text.to_owned())).unwrap()
    }

    fn cleaned(text: &str) -> String {
        Redactor::of([&secret(TEXT)]).clean_text(text)
    }

    #[test]
    fn a_secret_is_found_in_every_usual_spelling() {
        let percent: String = TEXT.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let small = percent.to_ascii_lowercase();
        let unicode: String = TEXT.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
        let entities: String = TEXT.bytes().map(|byte| format!("&#{byte};")).collect();
        let html =
            TEXT.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        let json = serde_json::to_string(TEXT).unwrap();
        let slashes = TEXT.replace('"', "\\\"").replace('/', "\\/");
        let form = "s3cr3t%2Fof%2Bthe+%22test%22%3C%26%3E%2525";
        for spelled in
            [TEXT, &percent, &small, &unicode, &entities, &html, json.trim_matches('"'), &slashes, form]
        {
            assert_eq!(cleaned(&format!("<{spelled}>")), "<[secret K]>", "{spelled}");
        }
        assert_eq!(cleaned(&TEXT.to_ascii_uppercase()), "[secret K]");
        let hex: String = TEXT.bytes().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(cleaned(&hex), "[secret K]");
    }

    #[test]
    fn a_secret_is_found_where_its_escapes_are_escaped() {
        let percent: String = TEXT.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let html =
            TEXT.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        let (mut url, mut page) = (percent, html);
        for _ in 0..3 {
            (url, page) = (url.replace('%', "%25"), page.replace('&', "&amp;"));
            assert_eq!(cleaned(&format!("/login?next={url}")), "/login?next=[secret K]", "{url}");
            assert_eq!(cleaned(&format!("<p>{page}</p>")), "<p>[secret K]</p>", "{page}");
        }
    }

    #[test]
    fn a_secret_is_found_in_base64_that_is_broken_into_lines() {
        let encoded = STANDARD.encode(format!("user:{TEXT}"));
        for end in ["\r\n", "\n", "\\n"] {
            for width in [5, 16, 20] {
                let lines: Vec<&str> =
                    encoded.as_bytes().chunks(width).map(|line| str::from_utf8(line).unwrap()).collect();
                let cleaned = cleaned(&lines.join(end));
                assert!(cleaned.contains("[secret K]"), "{cleaned}");
            }
        }
    }

    #[test]
    fn what_is_no_secret_stays_as_it_is() {
        for text in ["", "s3cr3t", "s3cr3t/of+the \"tes", "%", "%2", "\\u00", "&#;", "&amp", "é\u{0}"] {
            assert_eq!(cleaned(text), text);
        }
        assert_eq!(Redactor::of([]).clean(b"anything", 3), b"any");
    }

    #[test]
    fn credentials_that_were_encoded_are_found_decoded() {
        let basic = secret("Basic dXNlcjpwYXNzd29yZCBvZiBpdA==");
        assert_eq!(Redactor::of([&basic]).clean_text("hello user:password of it"), "hello [secret K]");
    }

    #[test]
    fn a_secret_that_begins_within_what_is_kept_is_never_told_in_part() {
        let body = format!("abc{TEXT}def");
        for keep in 0..=body.len() {
            let cleaned = Redactor::of([&secret(TEXT)]).clean(body.as_bytes(), keep);
            let cleaned = String::from_utf8(cleaned).unwrap();
            assert!(["", "a", "ab", "abc"].contains(&cleaned.split('[').next().unwrap()), "{cleaned}");
        }
    }

    proptest! {
        #[test]
        fn base64_of_anything_around_a_secret_does_not_hold_it(
            before in prop::collection::vec(any::<u8>(), 0..20),
            text in "[!-~][ -~]{6,38}[!-~]",
            after in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let all = [before.as_slice(), text.as_bytes(), after.as_slice()].concat();
            for encoded in [STANDARD.encode(&all), URL_SAFE_NO_PAD.encode(&all)] {
                let cleaned = Redactor::of([&secret(&text)]).clean_text(&encoded);
                prop_assert!(cleaned.contains("[secret K]"), "{cleaned}");
                // What is left holds no more than what stood around it.
                let left = cleaned.replace("[secret K]", "").replace('=', "");
                prop_assert!(left.len() * 6 / 8 <= before.len() + after.len() + 1);
            }
        }

        #[test]
        fn any_mixture_of_escapes_is_found(text in "[!-~][ -~]{6,28}[!-~]", kinds in prop::collection::vec(0..5_u8, 30)) {
            let spelled: String = text.bytes().zip(kinds).map(|(byte, kind)| match kind {
                0 => char::from(byte).to_string(),
                1 => format!("%{byte:02x}"),
                2 => format!("\\u{byte:04X}"),
                3 => format!("&#x{byte:x};"),
                _ => format!("&#{byte};"),
            }).collect();
            let redactor = Redactor::of([&secret(&text)]);
            prop_assert_eq!(redactor.clean_text(&spelled), "[secret K]");
        }

        #[test]
        fn no_bytes_are_a_fault(bytes in prop::collection::vec(any::<u8>(), 0..200), keep in 0..300_usize) {
            let redactor = Redactor::of([&secret(TEXT)]);
            prop_assert!(redactor.clean(&bytes, keep).len() <= bytes.len().max(10));
        }
    }
}
