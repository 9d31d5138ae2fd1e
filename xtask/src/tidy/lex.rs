//! Tells Rust code from comments and literals, byte for byte, without parsing it.
//!
//! Enough for rules that look for words. It must never shift an offset: what is blanked is replaced by
//! spaces, and line breaks stay.

/// The text with the insides of comments and of string and character literals replaced by spaces.
/// The quotes of strings stay.
pub(crate) fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let end = match byte {
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => block_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if !follows_word(bytes, at) => raw_string_end(bytes, at).unwrap_or(at),
            b'\'' => char_end(text, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            code.push(byte);
            at += 1;
        } else {
            blank(&bytes[at..end], &mut code);
            at = end;
        }
    }
    String::from_utf8_lossy(&code).into_owned()
}

fn blank(literal: &[u8], code: &mut Vec<u8>) {
    let is_string = literal.last() == Some(&b'"') || literal.first() == Some(&b'"');
    let first = literal.iter().position(|byte| *byte == b'"');
    let last = literal.iter().rposition(|byte| *byte == b'"');
    for (at, byte) in literal.iter().enumerate() {
        let is_quote = is_string && (Some(at) == first || Some(at) == last);
        code.push(if *byte == b'\n' || is_quote { *byte } else { b' ' });
    }
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| at + length)
}

/// Block comments nest.
fn block_end(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The end of `r"…"` or `r#"…"#`; `None` where the `r` starts no string. A `b` or `c` before it is code.
fn raw_string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let hashes = bytes[start + 1..].iter().take_while(|byte| **byte == b'#').count();
    let quote = start + 1 + hashes;
    if bytes.get(quote) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.extend(std::iter::repeat_n(b'#', hashes));
    let inside = &bytes[quote + 1..];
    let length = inside.windows(close.len()).position(|window| window == close);
    Some(length.map_or(bytes.len(), |length| quote + 1 + length + close.len()))
}

/// The end of a character literal; `None` for a lifetime.
fn char_end(text: &str, start: usize) -> Option<usize> {
    let rest = &text[start + 1..];
    let first = rest.chars().next()?;
    if first == '\\' {
        let skipped = rest.char_indices().nth(1).map(|(at, escaped)| at + escaped.len_utf8())?;
        return rest[skipped..].find('\'').map(|length| start + 1 + skipped + length + 1);
    }
    rest[first.len_utf8()..].starts_with('\'').then(|| start + 1 + first.len_utf8() + 1)
}

/// Whether the byte before is part of a word other than the `b` or `c` of a literal's prefix.
fn follows_word(bytes: &[u8], at: usize) -> bool {
    let before = |back: usize| at.checked_sub(back).and_then(|place| bytes.get(place));
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    match before(1) {
        Some(b'b' | b'c') => is_word(before(2)),
        byte => is_word(byte),
    }
}

/// Offsets of `word` where it stands alone: a side of it that is a word character has no other beside it.
pub(crate) fn find_words<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> + 't {
    let opens = word.starts_with(is_word_char);
    let closes = word.ends_with(is_word_char);
    text.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = text[..*at].chars().next_back().is_some_and(is_word_char);
        let after = text[at + word.len()..].chars().next().is_some_and(is_word_char);
        !(opens && before || closes && after)
    })
}

/// Whether a name could hold this character.
pub(crate) fn is_word_char(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The identifier that starts at `at`, after white space; empty if none does.
pub(crate) fn name_at(code: &str, at: usize) -> &str {
    let rest = code[at..].trim_start();
    &rest[..rest.find(|letter| !is_word_char(letter)).unwrap_or(rest.len())]
}

/// The line of an offset, from 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_offsets_stay() {
        let text = "let a = \"x // y\"; // tail\n/* b /* c */ */ let d = 'e';\n";
        let code = code_only(text);
        assert_eq!(code.len(), text.len());
        assert_eq!(code, "let a = \"      \";        \n                let d =    ;\n");
    }

    #[test]
    fn raw_byte_and_escaped_literals_end_where_they_end() {
        for literal in
            ["r#\"a\"b\"#", "br\"a\\\"", "b\"a\\\"b\"", "\"\\\\\"", "'\\''", "'\\u{1F600}'", "'é'", "'\"'"]
        {
            let code = code_only(&format!("x({literal}); end"));
            assert!(code.ends_with("); end"), "{literal}: {code}");
            assert!(!code.contains('a'), "{literal}: {code}");
        }
    }

    #[test]
    fn lifetimes_and_words_that_end_in_r_stay_code() {
        let text = "fn f<'a>(b: &'a str) -> For<'a> { bar\"x\"; r.x() }";
        assert_eq!(code_only(text), text.replace("\"x\"", "\" \""));
    }

    #[test]
    fn an_unclosed_literal_blanks_the_rest() {
        assert_eq!(code_only("a \"b c"), "a \"   ");
        assert_eq!(code_only("a /* b"), "a     ");
    }

    #[test]
    fn words_stand_alone() {
        let found: Vec<usize> = find_words("unsafe unsafe_code an_unsafe (unsafe)", "unsafe").collect();
        assert_eq!(found, [0, 30]);
        assert_eq!(find_words("xsleep( sleep(1", "sleep(").collect::<Vec<_>>(), [8]);
    }

    #[test]
    fn names_and_lines_are_found() {
        assert_eq!(name_at("fn  all() {}", 2), "all");
        assert_eq!(name_at("fn (", 2), "");
        assert_eq!(line_of("a\nb\nc", 4), 3);
    }
}
