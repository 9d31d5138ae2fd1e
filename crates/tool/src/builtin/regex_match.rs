//! `regex_match`: where a pattern matches, by an engine that never backtracks. One match takes time linear in the input;
//! all matches of a hostile pattern can take its square, so that a worker does it.

use regex::{Captures, Regex, RegexBuilder};
use serde_json::{Map, Value, json};

use crate::BadCall;
use crate::arguments::{Arguments, shown};
use crate::compute::{Computation, Place, Raised};

const EXAMPLE: &str = r#"{"pattern": "(\\w+)@(\\w+)", "input": "ada@lab", "flags": "i"}"#;
const NAMES: [&str; 3] = ["pattern", "input", "flags"];

/// The longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 8 << 10;

/// A compiled pattern, and the cache of its automaton, in bytes each.
const COMPILED_BYTES_MAX: usize = 4 << 20;

/// How deeply a pattern may be nested.
const NESTING_MAX: u32 = 100;

/// The most matches that are given back.
const MATCHES_MAX: usize = 1000;

/// The tool.
pub(super) const COMPUTATION: Computation = Computation {
    name: "regex_match",
    summary: "Finds every match of a regular expression in a text, with places and groups.",
    schema,
    check,
    compute,
    place: Place::Worker,
};

fn schema() -> Value {
    json!({
        "type": "object",
        "required": ["pattern", "input"],
        "additionalProperties": false,
        "properties": {
            "pattern": {
                "type": "string",
                "maxLength": PATTERN_BYTES_MAX,
                "description": "A regular expression in the syntax of RE2 and Rust: groups (also named: (?P<name>…)), classes, \
                                Unicode. Look-around and back-references are not there, so that matching is never \
                                exponential."
            },
            "input": {"type": "string", "description": "The text to search."},
            "flags": {
                "type": "string",
                "pattern": "^[imsxuUg]*$",
                "description": "i: ignore case; m: ^ and $ match at lines; s: . matches line breaks; x: blanks and comments in \
                                the pattern; U: lazy unless asked. u and g change nothing: both are always on."
            }
        },
        "examples": [{"pattern": "(\\w+)@(\\w+)", "input": "ada@lab"}]
    })
}

fn check(payload: &Value) -> Result<(), BadCall> {
    let arguments = Arguments::of(payload, &NAMES, EXAMPLE)?;
    arguments.short_text("pattern", PATTERN_BYTES_MAX)?;
    arguments.text("input")?;
    let flags = arguments.maybe_text("flags")?.unwrap_or_default();
    match flags.chars().all(|flag| "imsxuUg".contains(flag)) {
        true => Ok(()),
        false => Err(arguments.bad("flags", "may have the letters i, m, s, x, u, U and g")),
    }
}

fn compile(pattern: &str, flags: &str) -> Result<Regex, Raised> {
    let has = |flag| flags.contains(flag);
    let built = RegexBuilder::new(pattern)
        .case_insensitive(has('i'))
        .multi_line(has('m'))
        .dot_matches_new_line(has('s'))
        .ignore_whitespace(has('x'))
        .swap_greed(has('U'))
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(COMPILED_BYTES_MAX)
        .nest_limit(NESTING_MAX)
        .build();
    built.map_err(|error| {
        let message = if matches!(error, regex::Error::CompiledTooBig(_)) {
            "the pattern is too large once compiled; use smaller repetitions".to_owned()
        } else {
            // Its last line says what is wrong; those before draw the pattern.
            let told = error.to_string();
            let last = told.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("`{}` is no pattern: {last}", shown(pattern))
        };
        Raised::new("BadPattern", message)
    })
}

fn compute(payload: &Value) -> Result<Value, Raised> {
    let arguments = Arguments::of(payload, &NAMES, EXAMPLE)?;
    let (pattern, input) = (arguments.text("pattern")?, arguments.text("input")?);
    let regex = compile(pattern, arguments.maybe_text("flags")?.unwrap_or_default())?;
    let mut places = Places { text: input, byte: 0, character: 0 };
    let mut found = regex.captures_iter(input);
    let mut matches = Vec::new();
    for captures in found.by_ref().take(MATCHES_MAX) {
        matches.push(match_json(&regex, &captures, &mut places));
    }
    let mut result = json!({"matched": !matches.is_empty(), "matches": matches});
    if found.next().is_some() {
        result["truncated"] = true.into();
    }
    Ok(result)
}

fn match_json(regex: &Regex, captures: &Captures<'_>, places: &mut Places<'_>) -> Value {
    let text = |group: Option<regex::Match<'_>>| group.map_or(Value::Null, |group| group.as_str().into());
    let (start, end) = captures.get(0).map_or((0, 0), |all| (all.start(), all.end()));
    let (start, end) = (places.of(start), places.of(end));
    let groups: Vec<Value> = captures.iter().skip(1).map(text).collect();
    let mut found = json!({"text": text(captures.get(0)), "start": start, "end": end, "groups": groups});
    let name = |name: Option<&str>| name.map(|name| (name.to_owned(), text(captures.name(name))));
    let named: Map<String, Value> = regex.capture_names().filter_map(name).collect();
    if !named.is_empty() {
        found["named"] = named.into();
    }
    found
}

/// Counts characters up to a byte. Asked in order, so that the text is walked once.
struct Places<'t> {
    text: &'t str,
    byte: usize,
    character: usize,
}

impl Places<'_> {
    fn of(&mut self, byte: usize) -> usize {
        self.character += self.text[self.byte..byte].chars().count();
        self.byte = byte;
        self.character
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert_eq, proptest};
    use serde_json::{Value, json};

    use super::{MATCHES_MAX, check, compute};

    fn matches(pattern: &str, input: &str, flags: &str) -> Value {
        compute(&json!({"pattern": pattern, "input": input, "flags": flags})).unwrap()
    }

    #[test]
    fn places_count_characters_and_groups_are_in_order() {
        let found = matches(r"(\w)@(\w)?", "é a@b c@ ", "");
        let expected = json!({"matched": true, "matches": [
            {"text": "a@b", "start": 2, "end": 5, "groups": ["a", "b"]},
            {"text": "c@", "start": 6, "end": 8, "groups": ["c", null]},
        ]});
        assert_eq!(found, expected);
        assert_eq!(matches("x", "abc", ""), json!({"matched": false, "matches": []}));
    }

    #[test]
    fn named_groups_have_their_names_and_flags_work() {
        let found = matches("(?P<key>[a-z]+)=", "KEY=1", "i");
        assert_eq!(found["matches"][0]["named"], json!({"key": "KEY"}));
        assert_eq!(matches("^b", "a\nb", "m")["matched"], true);
        assert_eq!(matches("a.b", "a\nb", "s")["matched"], true);
    }

    #[test]
    fn bad_patterns_are_told_without_a_drawing() {
        let told = compute(&json!({"pattern": "(a", "input": ""})).unwrap_err();
        assert_eq!(told.name, "BadPattern");
        assert_eq!(told.message, "`(a` is no pattern: unclosed group");
        let told = compute(&json!({"pattern": "(?=a)", "input": ""})).unwrap_err();
        assert!(told.message.contains("look-around"), "{}", told.message);
        assert!(check(&json!({"pattern": "a", "input": "a", "flags": "q"})).is_err());
        assert!(check(&json!({"pattern": "a".repeat(9000), "input": "a"})).is_err());
    }

    #[test]
    fn a_pattern_that_is_a_bomb_is_refused_before_it_grows() {
        let told = compute(&json!({"pattern": "((a{1000}){1000}){1000}", "input": ""})).unwrap_err();
        assert!(told.message.contains("too large"), "{}", told.message);
        assert!(compute(&json!({"pattern": "(".repeat(4000), "input": ""})).is_err());
    }

    #[test]
    fn the_matches_are_bounded_and_it_says_so() {
        let found = matches("a", &"a".repeat(MATCHES_MAX + 1), "");
        assert_eq!(found["matches"].as_array().map(Vec::len), Some(MATCHES_MAX));
        assert_eq!(found["truncated"], true);
        assert_eq!(matches("a", &"a".repeat(MATCHES_MAX), "").get("truncated"), None);
    }

    proptest! {
        #[test]
        fn a_place_is_where_the_text_is(input in "[a-cé ☃]{0,40}") {
            let found = matches("[a☃]+", &input, "");
            let characters: Vec<char> = input.chars().collect();
            for one in found["matches"].as_array().unwrap() {
                let place = |name: &str| usize::try_from(one[name].as_u64().unwrap()).unwrap();
                let text: String = characters[place("start")..place("end")].iter().collect();
                prop_assert_eq!(&one["text"], &Value::from(text));
            }
        }
    }
}
