//! From the payload of a call to a request of the sandbox. Each field has one rule, and its error names it.

use core::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use execgate_sandbox::{Collect, PlacedFile, Request, Stdin};
use serde_json::{Map, Value, json};

use super::bounds::{
    ARGS_MAX, Bounds, FILES_BYTES_MAX, FILES_MAX, PATTERN_BYTES_MAX, PATTERNS_MAX, STDIN_MAX, TIMEOUT_MIN,
};
use crate::BadCall;
use crate::code::suited;

/// The longest character, in bytes.
const CHARACTER_MAX: usize = 4;

/// Every field that a call may have.
const FIELDS: [&str; 10] =
    ["code", "timeout", "stdin", "args", "files", "collect", "rich", "profile", "tier", "dialect"];

/// What a call asks for beside the run itself.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) profile: Option<String>,
    pub(super) tier: Option<String>,
}

/// The JSON Schema of a call.
pub(super) fn schema(bounds: &Bounds) -> Value {
    let file = json!({
        "type": "object", "required": ["path"], "additionalProperties": false,
        "properties": {
            "path": {"type": "string", "description": "relative to /home/user, or below /tmp"},
            "content": {"type": "string"},
            "content_base64": {"type": "string", "contentEncoding": "base64"}
        }
    });
    json!({
        "type": "object", "required": ["code"], "additionalProperties": false,
        "properties": {
            "code": {"type": "string", "minLength": 1, "maxLength": bounds.code_max},
            "timeout": {
                "type": "number", "minimum": TIMEOUT_MIN.as_secs(), "maximum": bounds.timeout_max.as_secs(),
                "default": bounds.timeout_default.as_secs(), "description": "seconds"
            },
            "stdin": {"type": "string", "maxLength": STDIN_MAX},
            "args": {"type": "array", "items": {"type": "string"}, "maxItems": ARGS_MAX},
            "files": {"type": "array", "items": file, "maxItems": FILES_MAX},
            "collect": {
                "type": "array", "items": {"type": "string"}, "maxItems": PATTERNS_MAX,
                "description": "patterns of files to bring back, such as *.png or out/**"
            },
            "rich": {"type": "boolean", "default": false},
            "profile": {"type": "string"},
            "tier": {"type": "string", "description": "the weakest isolation tier that is accepted"},
            "dialect": {"type": "string", "enum": ["typescript"]}
        }
    })
}

/// Reads a payload.
pub(super) fn read(
    language: &str,
    payload: &Value,
    bounds: &Bounds,
    option_ms: Option<u64>,
) -> Result<Asked, BadCall> {
    let Value::Object(payload) = payload else {
        return Err(BadCall::at("", "the payload must be an object"));
    };
    let code = code(payload, bounds)?;
    let warm = suited(language, &code);
    let mut request = Request::new(language, code);
    request.warm = warm;
    request.limits.wall = timeout(payload, bounds, option_ms)?;
    request.limits.memory_bytes = bounds.memory_bytes;
    // A character more than is answered, so that whoever cuts says so in the field that it cuts.
    request.limits.output_bytes = u64::try_from(bounds.output_max + CHARACTER_MAX).unwrap_or(u64::MAX);
    request.stdin = stdin(payload)?;
    request.args = args(payload)?;
    request.files = files(payload)?;
    request.collect = collect(payload)?;
    request.rich = rich(payload)?;
    request.words = dialect(language, payload)?;
    if let Some(name) = payload.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        let name: String = name.chars().take(64).collect();
        return Err(BadCall::at("", format!("unknown field `{name}`; see /openapi.json")));
    }
    Ok(Asked { request, profile: text(payload, "profile")?, tier: text(payload, "tier")? })
}

/// A field that is there; null is as good as absent.
fn field<'a>(payload: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    payload.get(name).filter(|value| !value.is_null())
}

fn text(payload: &Map<String, Value>, name: &str) -> Result<Option<String>, BadCall> {
    match field(payload, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(BadCall::at(&format!("/{name}"), format!("`{name}` must be a string"))),
    }
}

fn code(payload: &Map<String, Value>, bounds: &Bounds) -> Result<String, BadCall> {
    let code = match payload.get("code") {
        Some(Value::String(code)) if !code.trim().is_empty() => code,
        _ => return Err(BadCall::at("/code", "\"code\" is required - the source code to execute")),
    };
    let length = code.trim().encode_utf16().count();
    if length > bounds.code_max {
        let (of, max) = (bounds.of, bounds.code_max);
        return Err(BadCall::at(
            "/code",
            format!("Code too long ({length} chars). The {of} allows up to {max} chars"),
        ));
    }
    Ok(code.clone())
}

fn timeout(
    payload: &Map<String, Value>,
    bounds: &Bounds,
    option_ms: Option<u64>,
) -> Result<Duration, BadCall> {
    let (min, max) = (TIMEOUT_MIN, bounds.timeout_max);
    let wrong = || {
        let (min, max) = (min.as_secs(), max.as_secs());
        BadCall::at("/timeout", format!("`timeout` must be a number from {min} to {max} (seconds)"))
    };
    let wall = match field(payload, "timeout") {
        None => option_ms.map_or(bounds.timeout_default, Duration::from_millis),
        Some(value) => {
            let seconds = value.as_f64().filter(|seconds| seconds.is_finite()).ok_or_else(wrong)?;
            Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?
        }
    };
    if (min..=max).contains(&wall) { Ok(wall) } else { Err(wrong()) }
}

fn stdin(payload: &Map<String, Value>) -> Result<Stdin, BadCall> {
    match text(payload, "stdin") {
        Ok(None) => Ok(Stdin::Empty),
        Ok(Some(text)) if text.len() <= STDIN_MAX => Ok(Stdin::Bytes(text.into_bytes())),
        Ok(Some(_)) | Err(_) => {
            Err(BadCall::at("/stdin", format!("`stdin` must be a string of at most {STDIN_MAX} bytes")))
        }
    }
}

/// A list of strings.
fn strings(value: &Value, max: usize) -> Option<Vec<String>> {
    let list = value.as_array().filter(|list| list.len() <= max)?;
    list.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

fn args(payload: &Map<String, Value>) -> Result<Vec<String>, BadCall> {
    let Some(value) = field(payload, "args") else { return Ok(Vec::new()) };
    let list = strings(value, ARGS_MAX).filter(|list| {
        let bytes: usize = list.iter().map(|text| text.len() + 1).sum();
        bytes <= Request::ARGS_BYTES_MAX && !list.iter().any(|text| text.contains('\0'))
    });
    list.ok_or_else(|| {
        let bytes = Request::ARGS_BYTES_MAX;
        let rule =
            format!("`args` must be at most {ARGS_MAX} strings without NUL, of {bytes} bytes together");
        BadCall::at("/args", rule)
    })
}

fn files(payload: &Map<String, Value>) -> Result<Vec<PlacedFile>, BadCall> {
    let Some(value) = field(payload, "files") else { return Ok(Vec::new()) };
    let Some(list) = value.as_array().filter(|list| list.len() <= FILES_MAX) else {
        return Err(BadCall::at("/files", format!("`files` must be a list of at most {FILES_MAX} files")));
    };
    let mut files: Vec<PlacedFile> = Vec::new();
    let mut bytes = 0;
    for (at, item) in list.iter().enumerate() {
        let place = format!("/files/{at}");
        let file = file(item).map_err(|message| BadCall::at(&place, message))?;
        bytes += file.content().len();
        if bytes > FILES_BYTES_MAX {
            let message = format!("`files` may have at most {FILES_BYTES_MAX} bytes together");
            return Err(BadCall::at("/files", message));
        }
        if let Some(other) = files.iter().find(|other| collide(other.path(), file.path())) {
            let message = format!("two files cannot be `{}` and `{}`", other.path(), file.path());
            return Err(BadCall::at(&place, message));
        }
        files.push(file);
    }
    Ok(files)
}

/// Whether one path is the other, or a folder on the way to it.
fn collide(a: &str, b: &str) -> bool {
    let is_on_the_way = |short: &str, long: &str| {
        long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    is_on_the_way(a, b) || is_on_the_way(b, a)
}

fn file(item: &Value) -> Result<PlacedFile, String> {
    const RULE: &str = "a file is an object of `path` and either `content` (text) or `content_base64`";
    let Value::Object(fields) = item else { return Err(RULE.to_owned()) };
    if fields.keys().any(|name| !["path", "content", "content_base64"].contains(&name.as_str())) {
        return Err(RULE.to_owned());
    }
    let content = match (field(fields, "content"), field(fields, "content_base64")) {
        (Some(Value::String(text)), None) => text.clone().into_bytes(),
        (None, Some(Value::String(text))) => {
            STANDARD.decode(text).map_err(|_| "`content_base64` is not base64 (RFC 4648)".to_owned())?
        }
        _ => return Err(RULE.to_owned()),
    };
    let Some(Value::String(path)) = fields.get("path") else { return Err(RULE.to_owned()) };
    PlacedFile::new(path, content).map_err(|error| error.to_string())
}

fn collect(payload: &Map<String, Value>) -> Result<Option<Collect>, BadCall> {
    let Some(value) = field(payload, "collect") else { return Ok(None) };
    let patterns = strings(value, PATTERNS_MAX)
        .filter(|list| list.iter().all(|text| text.len() <= PATTERN_BYTES_MAX && Collect::is_pattern(text)));
    let Some(patterns) = patterns else {
        let message =
            format!("`collect` must be a list of at most {PATTERNS_MAX} patterns such as *.png or out/**");
        return Err(BadCall::at("/collect", message));
    };
    let bytes = u64::try_from(FILES_BYTES_MAX).unwrap_or(u64::MAX);
    let files_max = u32::try_from(FILES_MAX).unwrap_or(u32::MAX);
    Ok(Some(Collect { patterns, file_bytes_max: bytes, total_bytes_max: bytes, files_max }))
}

fn rich(payload: &Map<String, Value>) -> Result<bool, BadCall> {
    match field(payload, "rich") {
        None => Ok(false),
        Some(Value::Bool(rich)) => Ok(*rich),
        Some(_) => Err(BadCall::at("/rich", "`rich` must be true or false")),
    }
}

fn dialect(language: &str, payload: &Map<String, Value>) -> Result<Vec<String>, BadCall> {
    match text(payload, "dialect")? {
        None => Ok(Vec::new()),
        Some(dialect) if language == "javascript" && dialect == "typescript" => Ok(vec![dialect]),
        Some(_) => Err(BadCall::at("/dialect", "`dialect` is `typescript`, and only javascript has it")),
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use execgate_model::Offer;
    use serde_json::{Value, json};

    use super::{Asked, Bounds, read};
    use crate::BadCall;

    fn reads(payload: &Value, offer: Option<Offer>) -> Result<Asked, BadCall> {
        read("javascript", payload, &Bounds::of(offer), None)
    }

    fn place_of(payload: &Value) -> String {
        reads(payload, None).unwrap_err().pointer
    }

    #[test]
    fn a_deadline_is_within_the_bounds_of_its_offer() {
        let wall = |payload: Value, offer| {
            reads(&payload, offer).map(|asked| asked.request.limits.wall).map_err(|bad| bad.pointer)
        };
        assert_eq!(wall(json!({"code": "1"}), None), Ok(Duration::from_secs(30)));
        assert_eq!(wall(json!({"code": "1", "timeout": 1.5}), None), Ok(Duration::from_millis(1500)));
        assert_eq!(wall(json!({"code": "1"}), Some(Offer::CodeRunPro)), Ok(Duration::from_mins(1)));
        let long = json!({"code": "1", "timeout": 300});
        assert_eq!(wall(long.clone(), Some(Offer::CodeRunBasic)), Ok(Duration::from_mins(5)));
        assert!(wall(long, Some(Offer::CodeRun)).is_err());
        for wrong in [json!(0), json!(-1), json!(300.1), json!("5"), json!(1e300), json!([])] {
            assert_eq!(place_of(&json!({"code": "1", "timeout": wrong})), "/timeout");
        }
    }

    #[test]
    fn code_is_counted_in_utf16_units_as_its_clients_do() {
        assert!(reads(&json!({"code": "é".repeat(50_000)}), None).is_ok());
        let long = reads(&json!({"code": "𝄞".repeat(5_001)}), Some(Offer::CodeRun)).unwrap_err();
        assert_eq!(long.message, "Code too long (10002 chars). The code-run tier allows up to 10000 chars");
        for wrong in [json!({}), json!({"code": " \n"}), json!({"code": 7}), json!({"code": null})] {
            let bad = reads(&wrong, None).unwrap_err();
            assert_eq!(bad.message, "\"code\" is required - the source code to execute");
        }
    }

    #[test]
    fn every_field_has_its_rule() {
        let cases = [
            (json!({"args": ["a\u{0}b"]}), "/args"),
            (json!({"args": [1]}), "/args"),
            (json!({"stdin": 1}), "/stdin"),
            (json!({"stdin": "x".repeat(262_145)}), "/stdin"),
            (json!({"rich": "yes"}), "/rich"),
            (json!({"collect": "x"}), "/collect"),
            (json!({"collect": ["a["]}), "/collect"),
            (json!({"dialect": "coffee"}), "/dialect"),
            (json!({"profile": 1}), "/profile"),
            (json!({"files": {}}), "/files"),
            (json!({"files": [{"path": "../x", "content": ""}]}), "/files/0"),
            (json!({"files": [{"path": "x", "content_base64": "***"}]}), "/files/0"),
            (json!({"files": [{"path": "x", "content": "", "content_base64": ""}]}), "/files/0"),
            (json!({"files": [{"path": "x", "content": "", "mode": 7}]}), "/files/0"),
            (json!({"files": [{"path": "x", "content": ""}, {"path": "x/y", "content": ""}]}), "/files/1"),
            (json!({"files": [{"path": "x", "content": "é".repeat(3 << 20)}]}), "/files"),
            (json!({"surprise": 1}), ""),
        ];
        for (mut payload, place) in cases {
            payload["code"] = json!("1");
            assert_eq!(place_of(&payload), place, "{payload:.200}");
        }
        assert_eq!(place_of(&json!([])), "");
    }

    #[test]
    fn files_come_as_text_or_base64() {
        let payload = json!({"code": "1", "files": [
            {"path": "a.txt", "content": "é"}, {"path": "/tmp/b", "content_base64": "AP8="}
        ]});
        let files = reads(&payload, None).unwrap().request.files;
        let files: Vec<_> = files.iter().map(|file| (file.path(), file.content())).collect();
        assert_eq!(files, [("/home/user/a.txt", "é".as_bytes()), ("/tmp/b", &[0, 255][..])]);
    }
}
