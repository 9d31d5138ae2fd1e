//! The code-run envelope (CONTRACTS 4): exactly `language, stdout, stderr, result, error`, and `truncated`
//! only where something was cut.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use execgate_model::ErrorReport;
use execgate_sandbox::CollectedFile;
use serde_json::{Map, Value, json};

/// What a run of code left, before it is cut to the output cap of its tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) language: String,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) result: Option<String>,
    pub(crate) error: Option<ErrorReport>,
    /// True if the sandbox already left something out.
    pub(crate) truncated: bool,
    pub(crate) extras: Extras,
}

/// What stands in an answer only where it was asked for. Each has a budget of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Extras {
    /// Rich results.
    pub(crate) results: Option<Vec<Value>>,
    /// Files that were brought back.
    pub(crate) files: Option<Vec<CollectedFile>>,
}

/// What an error may always use of the answer, in bytes.
const ERROR_ROOM: usize = 1024;

/// The longest name of an error, in characters; a class may have any.
const ERROR_NAME_MAX: usize = 128;

/// One budget of bytes that fields drain in turn.
struct Budget {
    left: usize,
    cap: usize,
    cut: bool,
}

impl Budget {
    /// Keeps as much as is left, never half a character, and says so where it cut.
    fn keep(&mut self, text: &str) -> String {
        if text.len() <= self.left {
            self.left -= text.len();
            return text.to_owned();
        }
        let mut end = self.left;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.left = 0;
        self.cut = true;
        format!("{}\n…[output truncated at {} bytes]", &text[..end], self.cap)
    }
}

impl Envelope {
    /// The JSON of the envelope, cut to `cap` bytes over all its fields in their order.
    pub(crate) fn into_value(self, cap: usize) -> (Value, Option<ErrorReport>) {
        let mut budget = Budget { left: cap, cap, cut: false };
        let stdout = budget.keep(&String::from_utf8_lossy(&self.stdout));
        let stderr = budget.keep(&String::from_utf8_lossy(&self.stderr));
        let result = self.result.map(|text| budget.keep(&text));
        // However much was written, the error itself is told.
        budget.left = budget.left.max(ERROR_ROOM);
        let error = self.error.map(|error| ErrorReport {
            name: error.name.chars().take(ERROR_NAME_MAX).collect(),
            message: budget.keep(&error.message),
            traceback: budget.keep(&error.traceback),
        });
        let mut fields = Map::new();
        fields.insert("language".to_owned(), self.language.into());
        fields.insert("stdout".to_owned(), stdout.into());
        fields.insert("stderr".to_owned(), stderr.into());
        fields.insert("result".to_owned(), result.into());
        fields.insert("error".to_owned(), error.as_ref().map_or(Value::Null, |error| json!(error)));
        if budget.cut || self.truncated {
            fields.insert("truncated".to_owned(), true.into());
        }
        if let Some(results) = self.extras.results {
            fields.insert("results".to_owned(), results.into());
        }
        if let Some(files) = self.extras.files {
            fields.insert("files".to_owned(), files.iter().map(file_json).collect());
        }
        (Value::Object(fields), error)
    }
}

/// A file as the answer shows it: as text where it is text, else as base64; or why it was left behind. Text that JSON
/// would make more than twice as long is base64 too: a control character is six bytes there.
#[must_use]
pub fn file_json(file: &CollectedFile) -> Value {
    let path = &file.path;
    match file.content.as_ref().map(|bytes| (bytes, str::from_utf8(bytes))) {
        Ok((_, Ok(text))) if escaped_length(text) <= 2 * text.len() => json!({"path": path, "content": text}),
        Ok((bytes, _)) => json!({"path": path, "content_base64": STANDARD.encode(bytes)}),
        Err(why) => json!({"path": path, "error": why.to_string()}),
    }
}

/// How long a text is within a JSON string, in bytes.
fn escaped_length(text: &str) -> usize {
    let of = |byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(of).sum()
}

#[cfg(test)]
mod tests {
    use execgate_model::ErrorReport;
    use execgate_sandbox::{CollectedFile, NotCollected};
    use serde_json::json;

    use super::{Envelope, Extras, escaped_length, file_json};

    fn envelope(stdout: &str, result: Option<&str>) -> Envelope {
        Envelope {
            language: "python".to_owned(),
            stdout: stdout.as_bytes().to_vec(),
            stderr: Vec::new(),
            result: result.map(str::to_owned),
            error: None,
            truncated: false,
            extras: Extras::default(),
        }
    }

    #[test]
    fn an_envelope_has_exactly_the_five_fields_when_nothing_was_cut() {
        let (value, _) = envelope("hi\n", Some("4")).into_value(100);
        assert_eq!(
            value,
            json!({"language": "python", "stdout": "hi\n", "stderr": "", "result": "4", "error": null})
        );
    }

    #[test]
    fn files_are_text_where_they_are_text() {
        let files = [("a", Ok(b"x".to_vec())), ("b", Ok(vec![0xff])), ("c", Err(NotCollected::Large))];
        let files = files.map(|(path, content)| CollectedFile { path: path.to_owned(), content });
        let extras = Extras { files: Some(files.into()), results: Some(vec![json!({"text": "4"})]) };
        let (value, _) = Envelope { extras, ..envelope("", None) }.into_value(100);
        assert_eq!(value["results"], json!([{"text": "4"}]));
        let expected = json!([
            {"path": "a", "content": "x"},
            {"path": "b", "content_base64": "/w=="},
            {"path": "c", "error": "larger than a file may be"}
        ]);
        assert_eq!(value["files"], expected);
    }

    #[test]
    fn text_that_json_would_blow_up_is_base64() {
        let told = |text: &str| file_json(&CollectedFile { path: "a".to_owned(), content: Ok(text.into()) });
        for text in ["", "\"\"\n", "\u{1b}[1mbold", "é\u{7f}"] {
            assert_eq!(told(text), json!({"path": "a", "content": text}));
        }
        assert_eq!(told("\u{1}\u{2}\u{3}"), json!({"path": "a", "content_base64": "AQID"}));
        for text in ["\"\\\n\r\t\u{8}\u{c}\u{b}", "é\u{7f}\u{1f}"] {
            assert_eq!(escaped_length(text), json!(text).to_string().len() - 2);
        }
    }

    #[test]
    fn one_budget_is_drained_in_order_and_never_cuts_a_character() {
        let (value, _) = envelope("aé", Some("later")).into_value(2);
        assert_eq!(value["stdout"], "a\n…[output truncated at 2 bytes]");
        assert_eq!(value["result"], "\n…[output truncated at 2 bytes]");
        assert_eq!(value["truncated"], true);
    }

    #[test]
    fn an_error_is_told_however_much_was_written_and_cut_like_everything_else() {
        let error = ErrorReport { name: "E".into(), message: "m".repeat(9), traceback: "t".repeat(2000) };
        let (value, _) = Envelope { error: Some(error), ..envelope("long", None) }.into_value(2);
        assert_eq!(value["error"]["name"], "E");
        assert_eq!(value["error"]["message"], "m".repeat(9));
        assert_eq!(
            value["error"]["traceback"],
            format!("{}\n…[output truncated at 2 bytes]", "t".repeat(1015))
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_not_lost() {
        let (value, _) = Envelope { stdout: vec![b'a', 0xff, b'b'], ..envelope("", None) }.into_value(100);
        assert_eq!(value["stdout"], "a\u{fffd}b");
    }
}
