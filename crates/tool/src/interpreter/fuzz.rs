//! What holds of calls, displays and answers, whatever the bytes. Fuzz targets and property tests call it.

use core::str;

use execgate_model::{ErrorReport, Offer};
use execgate_sandbox::{Request, Stdin};
use serde_json::Value;

use super::bounds::{
    ARGS_MAX, Bounds, FILES_BYTES_MAX, FILES_MAX, PATTERNS_MAX, RICH_BYTES_MAX, STDIN_MAX, TIMEOUT_MIN,
};
use super::envelope::{Envelope, Extras};
use super::{payload, rich_results};

/// What a cut field ends with, at most, in bytes.
const MARK_MAX: usize = 64;

/// What it ends with in part: a text that has it already may look uncut.
const MARK: &str = "[output truncated";

/// What an error may use beside the budget: its room, and a name of 128 characters.
const ERROR_MAX: usize = 1024 + 4 * 128;

/// A call is refused with the place of its fault, or asks for no more than its offer has.
pub fn code_call(bytes: &[u8]) {
    let Ok(called) = serde_json::from_slice::<Value>(bytes) else { return };
    for offer in Offer::ALL.map(Some).into_iter().chain([None]) {
        let bounds = Bounds::of(offer);
        match payload::read("javascript", &called, &bounds, None) {
            Ok(asked) => is_within(&asked.request, &bounds),
            Err(bad) => {
                assert!(bad.pointer.is_empty() || bad.pointer.starts_with('/'));
                assert!(!bad.message.is_empty());
            }
        }
    }
}

fn is_within(request: &Request, bounds: &Bounds) {
    assert!((TIMEOUT_MIN..=bounds.timeout_max).contains(&request.limits.wall));
    assert_eq!(request.limits.memory_bytes, bounds.memory_bytes);
    let code = str::from_utf8(&request.code).unwrap_or_default().trim();
    assert!((1..=bounds.code_max).contains(&code.encode_utf16().count()));
    assert!(request.args.len() <= ARGS_MAX && !request.args.iter().any(|text| text.contains('\0')));
    assert!(!matches!(&request.stdin, Stdin::Bytes(bytes) if bytes.len() > STDIN_MAX));
    assert!(request.collect.as_ref().is_none_or(|collect| collect.patterns.len() <= PATTERNS_MAX));
    let files = &request.files;
    assert!(files.len() <= FILES_MAX);
    assert!(files.iter().map(|file| file.content().len()).sum::<usize>() <= FILES_BYTES_MAX);
    for (at, file) in files.iter().enumerate() {
        let path = file.path();
        assert!(path.starts_with("/home/user/") || path.starts_with("/tmp/"));
        let meets = |other: &str| format!("{other}/").starts_with(&format!("{path}/"));
        assert!(!files.iter().enumerate().any(|(other, file)| other != at && meets(file.path())));
    }
}

/// Of what a guest displays only known members pass, within their bounds. Gives what passed. A line is a display.
#[must_use]
pub fn displays(bytes: &[u8]) -> Vec<Value> {
    let texts: Vec<String> = String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect();
    let (results, left_out) = rich_results(&texts);
    assert_eq!(left_out, results.len() < texts.len());
    assert!(results.iter().map(|result| result.to_string().len()).sum::<usize>() <= 8 * RICH_BYTES_MAX);
    for member in results.iter().flat_map(|result| result.as_object().into_iter().flatten()) {
        match member.0.as_str() {
            "json" | "data" => {}
            "is_main_result" => assert!(member.1.is_boolean()),
            _ => assert!(member.1.is_string(), "{member:?}"),
        }
    }
    results
}

/// An answer is whole where it has room, and otherwise says that it is not, and never exceeds its cap by more than
/// an error's room. The first two bytes are the cap; NUL separates the fields.
pub fn answer(bytes: &[u8]) {
    let Some((cap, rest)) = bytes.split_first_chunk::<2>() else { return };
    let cap = usize::from(u16::from_le_bytes(*cap)) >> 4;
    let mut fields = rest.split(|byte| *byte == 0).chain(core::iter::repeat(&[][..]));
    let mut next = || fields.next().unwrap_or_default();
    let mut text = || String::from_utf8_lossy(next()).into_owned();
    let error = ErrorReport { name: text(), message: text(), traceback: text() };
    let (result, stdout, stderr) = (text(), text(), text());
    let given = [&stdout, &stderr, &result, &error.message, &error.traceback].map(String::clone);
    let envelope = Envelope {
        language: "python".to_owned(),
        stdout: stdout.into_bytes(),
        stderr: stderr.into_bytes(),
        result: Some(result),
        error: Some(error),
        truncated: false,
        extras: Extras::default(),
    };
    let (answer, told) = envelope.into_value(cap);
    if given.iter().any(|text| text.contains(MARK)) {
        return;
    }
    let text = |place: &str| answer.pointer(place).and_then(Value::as_str).unwrap_or_default();
    let kept = ["/stdout", "/stderr", "/result", "/error/message", "/error/traceback"].map(text);
    let length = |texts: &[&str]| texts.iter().map(|text| text.len()).sum::<usize>();
    let cut = kept.iter().zip(&given).filter(|(kept, given)| **kept != given.as_str()).count();
    assert_eq!(cut > 0, answer.get("truncated").is_some());
    assert!(cut == 0 || length(&given.each_ref().map(String::as_str)) > cap);
    assert!(length(&kept) <= cap + ERROR_MAX + cut * MARK_MAX);
    assert_eq!(told.map(|error| error.message).as_deref(), Some(text("/error/message")));
}

#[cfg(test)]
#[path = "../../../../fuzz/near.rs"]
mod near;

#[cfg(test)]
mod tests {
    use super::{answer, code_call, displays, near};

    #[test]
    fn a_call_is_refused_or_within_the_bounds_of_its_offer() {
        near::holds("code_call", code_call);
    }

    #[test]
    fn only_known_members_of_a_display_pass() {
        near::holds("displays", |bytes| drop(displays(bytes)));
    }

    #[test]
    fn an_answer_is_whole_or_says_that_it_is_not() {
        near::holds("answer", answer);
    }
}
