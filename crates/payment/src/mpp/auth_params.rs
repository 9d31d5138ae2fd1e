//! The parameters of an authentication scheme (RFC 9110, 11.2), with the escapes that MPP adds for characters that a
//! header cannot hold. What is read comes from outside.

use core::iter::Peekable;
use core::str::CharIndices;

/// The longest value that is read, in bytes.
const MAX_VALUE_BYTES: usize = 16 * 1024;

/// How many schemes with their parameters one value may hold.
const MAX_SCHEMES: usize = 16;

/// How many parameters one scheme may have.
const MAX_PARAMS: usize = 32;

/// Why a value has no schemes and parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// It is too long, or has too many parts.
    #[error("the value is too long, or has too many parts")]
    Large,
    /// A quoted text has no end.
    #[error("a quoted text has no end")]
    Quote,
    /// Something stands where a name or a value should.
    #[error("a parameter is `name=value`, and begins with no comma")]
    Form,
    /// Which of the two should count?
    #[error("a parameter stands there twice")]
    Twice,
}

/// One scheme and its parameters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Params<'a> {
    /// Its name, as it was written.
    pub(super) scheme: &'a str,
    pairs: Vec<(String, String)>,
}

impl Params<'_> {
    /// The value of a parameter, which is then gone.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let index = self.pairs.iter().position(|(known, _)| known == name)?;
        Some(self.pairs.swap_remove(index).1)
    }
}

/// Adds a parameter to a value that is being written. Characters that a header cannot hold are escaped as UTF-16, and
/// control characters become spaces.
pub(super) fn write(value: &mut String, name: &str, text: &str) {
    if value.ends_with('"') {
        value.push_str(", ");
    }
    value.push_str(name);
    value.push_str("=\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => value.extend(['\\', c]),
            ' '..='~' => value.push(c),
            c if c.is_ascii_control() => value.push(' '),
            c => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    value.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    value.push('"');
}

/// The schemes of a value, each with its parameters.
pub(super) fn read(value: &str) -> Result<Vec<Params<'_>>, ParamsError> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(ParamsError::Large);
    }
    let mut reader = Reader { value, rest: value.char_indices().peekable() };
    let mut schemes: Vec<Params<'_>> = Vec::new();
    loop {
        reader.skip(|c| c == ',' || c.is_ascii_whitespace());
        if reader.peek().is_none() {
            return Ok(schemes);
        }
        let name = reader.token();
        reader.skip(|c| c.is_ascii_whitespace());
        match (name, reader.peek()) {
            ("", _) => return Err(ParamsError::Form),
            (name, Some('=')) => {
                reader.rest.next();
                reader.skip(|c| c.is_ascii_whitespace());
                let text = reader.text()?;
                let scheme = schemes.last_mut().ok_or(ParamsError::Form)?;
                scheme.add(name.to_ascii_lowercase(), text)?;
            }
            (scheme, _) if schemes.len() < MAX_SCHEMES => {
                schemes.push(Params { scheme, pairs: Vec::new() });
                // What follows may be one token of its own form (RFC 9110's token68) and no parameter.
                reader.skip_token68();
            }
            _ => return Err(ParamsError::Large),
        }
    }
}

impl Params<'_> {
    fn add(&mut self, name: String, text: String) -> Result<(), ParamsError> {
        if self.pairs.len() >= MAX_PARAMS {
            return Err(ParamsError::Large);
        }
        if self.pairs.iter().any(|(known, _)| *known == name) {
            return Err(ParamsError::Twice);
        }
        self.pairs.push((name, text));
        Ok(())
    }
}

struct Reader<'a> {
    value: &'a str,
    rest: Peekable<CharIndices<'a>>,
}

impl<'a> Reader<'a> {
    fn peek(&mut self) -> Option<char> {
        self.rest.peek().map(|(_, c)| *c)
    }

    fn at(&mut self) -> usize {
        self.rest.peek().map_or(self.value.len(), |(index, _)| *index)
    }

    fn skip(&mut self, passed: impl Fn(char) -> bool) {
        while self.rest.next_if(|(_, c)| passed(*c)).is_some() {}
    }

    fn until(&mut self, within: impl Fn(char) -> bool) -> &'a str {
        let from = self.at();
        self.skip(within);
        let to = self.at();
        &self.value[from..to]
    }

    fn token(&mut self) -> &'a str {
        self.until(is_token)
    }

    /// A token68 ends the scheme; a parameter has a single `=` and something behind it.
    fn skip_token68(&mut self) {
        let before = self.rest.clone();
        let token = self.until(|c| is_token(c) || c == '/' || c == '=');
        self.skip(|c| c.is_ascii_whitespace());
        let is_last = matches!(self.peek(), None | Some(','));
        let is_param = token.trim_end_matches('=').contains('=');
        if !is_last || is_param || token.is_empty() {
            self.rest = before;
        }
    }

    fn text(&mut self) -> Result<String, ParamsError> {
        if self.rest.next_if(|(_, c)| *c == '"').is_some() {
            return self.quoted();
        }
        match self.until(|c| c != ',' && !c.is_ascii_whitespace()) {
            "" => Err(ParamsError::Form),
            text => Ok(text.to_owned()),
        }
    }

    fn quoted(&mut self) -> Result<String, ParamsError> {
        let mut units: Vec<u16> = Vec::new();
        loop {
            let (_, c) = self.rest.next().ok_or(ParamsError::Quote)?;
            match c {
                '"' => return Ok(String::from_utf16_lossy(&units)),
                '\\' => match self.unit() {
                    Some(unit) => units.push(unit),
                    None => push(&mut units, self.rest.next().ok_or(ParamsError::Quote)?.1),
                },
                c => push(&mut units, c),
            }
        }
    }

    /// A UTF-16 unit as `uXXXX`, behind a backslash.
    fn unit(&mut self) -> Option<u16> {
        let at = self.at();
        let digits = self.value.get(at..)?.strip_prefix('u')?.get(..4)?;
        let unit =
            digits.chars().all(|c| c.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok());
        for _ in unit?.iter().flat_map(|_| 0..5) {
            self.rest.next();
        }
        unit?
    }
}

fn push(units: &mut Vec<u16>, c: char) {
    units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::{MAX_PARAMS, MAX_SCHEMES, MAX_VALUE_BYTES, ParamsError, read};

    fn pairs(value: &str) -> Vec<(String, Vec<(String, String)>)> {
        let schemes = read(value).unwrap();
        schemes.into_iter().map(|params| (params.scheme.to_owned(), params.pairs)).collect()
    }

    fn scheme(name: &str, wanted: &[(&str, &str)]) -> (String, Vec<(String, String)>) {
        (name.to_owned(), wanted.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect())
    }

    #[test]
    fn schemes_and_their_parameters_are_told_apart() {
        assert_eq!(
            pairs("Bearer, Basic dXNlcjpwYXNz==, Payment ID = \"a, Payment b=c\" , x=y"),
            [
                scheme("Bearer", &[]),
                scheme("Basic", &[]),
                scheme("Payment", &[("id", "a, Payment b=c"), ("x", "y")])
            ]
        );
        assert_eq!(
            pairs("Payment a=\"\\\"\\\\\\u2014\\ud83e\\udd80\\x\""),
            [scheme("Payment", &[("a", "\"\\—🦀x")])]
        );
        assert_eq!(pairs(" , "), []);
    }

    #[test]
    fn what_is_of_no_form_is_refused() {
        let long = "x".repeat(MAX_VALUE_BYTES + 1);
        let schemes = "a, ".repeat(MAX_SCHEMES + 1);
        let many: String = (0..=MAX_PARAMS).map(|i| format!("p{i}=1, ")).collect();
        let cases = [
            (long.as_str(), ParamsError::Large),
            (&schemes, ParamsError::Large),
            (&format!("Payment {many}"), ParamsError::Large),
            ("a=b", ParamsError::Form),
            ("Payment \"a\"", ParamsError::Form),
            ("Payment a=\"b", ParamsError::Quote),
            ("Payment a=\"b\\", ParamsError::Quote),
            ("Payment a=1, A=2", ParamsError::Twice),
        ];
        for (value, error) in cases {
            assert_eq!(read(value).map(drop), Err(error), "{value}");
        }
    }
}
