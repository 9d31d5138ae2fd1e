//! Text of others as it is shown to a person who is to sign it: nothing is left out, and nothing can hide.
//!
//! A character that a terminal obeys, or that nobody sees, is shown by its number. Every change here needs a second reader.

use std::fmt::Write as _;

use serde_json::Value;

/// Letters by their class that show nothing: fillers of Hangul, and vowels of Khmer that are never written.
const UNSEEN: [char; 6] = ['\u{115f}', '\u{1160}', '\u{17b4}', '\u{17b5}', '\u{3164}', '\u{ffa0}'];

/// Whether a character is what it looks like: printable ASCII, and letters and digits of every script that is written from
/// left to right. The others would have a terminal move their neighbours about.
fn is_plain(c: char) -> bool {
    let turns = matches!(
        c,
        '\u{590}'..='\u{8ff}'
            | '\u{fb1d}'..='\u{fdff}'
            | '\u{fe70}'..='\u{feff}'
            | '\u{10800}'..='\u{10fff}'
            | '\u{1e800}'..='\u{1efff}'
    );
    matches!(c, ' '..='~') || (!c.is_ascii() && c.is_alphanumeric() && !turns && !UNSEEN.contains(&c))
}

/// A text in one line. A character that is not shown as it is stands as its UTF-16 escapes, as JSON has them.
pub(crate) fn line(text: &str) -> String {
    // So that what is escaped here cannot be taken for what was so already.
    escaped(&text.replace('\\', "\\\\"), |_| false)
}

/// A text of several lines, for people to read and not to sign.
pub(crate) fn text(text: &str) -> String {
    escaped(text, |c| c == '\n')
}

/// JSON in lines, escaped so that it is still the same JSON.
pub(crate) fn json(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string());
    escaped(&text, |c| c == '\n')
}

fn escaped(text: &str, keeps: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_plain(c) || keeps(c) {
            shown.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _infallible = write!(shown, "\\u{unit:04x}");
            }
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{json, line};

    #[test]
    fn nothing_that_a_terminal_obeys_or_nobody_sees_is_shown_as_it_is() {
        assert_eq!(line("rm -rf /\u{1b}[2K\recho"), "rm -rf /\\u001b[2K\\u000decho");
        assert_eq!(line("a\u{202e}b\u{200b}c\u{feff}\u{2066}"), "a\\u202eb\\u200bc\\ufeff\\u2066");
        assert_eq!(
            line("\u{7f}\u{9b}\u{ad}\u{3164}\u{2800}\u{e0041}"),
            "\\u007f\\u009b\\u00ad\\u3164\\u2800\\udb40\\udc41"
        );
        assert_eq!(line("Überweisung an Søren: 10 元"), "Überweisung an Søren: 10 元");
    }

    proptest! {
        #[test]
        fn what_is_shown_is_the_same_json(text in ".*", key in ".*") {
            let value = json!({key: [text, 1, null]});
            let shown = json(&value);
            prop_assert!(shown.chars().all(|c| c == '\n' || super::is_plain(c)));
            prop_assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), value);
        }
    }
}
