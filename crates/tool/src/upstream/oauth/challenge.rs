//! What a server says with a status 401 (RFC 6750, 3; RFC 9728, 5.1).

use hyper::header::HeaderValue;

/// The longest such header that is read, in bytes.
const BYTES_MAX: usize = 8 << 10;

/// What it says of where tokens are had.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Challenge {
    /// Where its metadata are.
    pub(super) resource_metadata: Option<String>,
}

impl Challenge {
    /// Reads the headers `WWW-Authenticate`; what cannot be read says nothing.
    pub(crate) fn of<'h>(headers: impl Iterator<Item = &'h HeaderValue>) -> Self {
        let mut texts =
            headers.filter_map(|value| value.to_str().ok()).filter(|text| text.len() <= BYTES_MAX);
        let metadata = texts.find_map(|text| parameter(text, "resource_metadata"));
        Self { resource_metadata: metadata }
    }
}

/// A parameter of a challenge, where it is one of its own: not within the text of another.
fn parameter(text: &str, name: &str) -> Option<String> {
    let (mut rest, mut is_quoted, mut key) = (text.chars(), false, String::new());
    while let Some(letter) = rest.next() {
        match letter {
            '\\' if is_quoted => {
                let _escaped = rest.next();
            }
            '"' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            '=' if key.eq_ignore_ascii_case(name) => return value(rest.as_str()),
            ' ' | ',' | '\t' | '=' => key.clear(),
            _ => key.push(letter),
        }
    }
    None
}

fn value(text: &str) -> Option<String> {
    let Some(quoted) = text.strip_prefix('"') else {
        return text.split([',', ' ', '\t']).next().map(str::to_owned);
    };
    let (mut read, mut letters) = (String::new(), quoted.chars());
    loop {
        match letters.next()? {
            '"' => return Some(read),
            '\\' => read.push(letters.next()?),
            letter => read.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::proptest;

    use super::Challenge;

    #[test]
    fn the_metadata_are_where_the_header_says_and_nowhere_else() {
        let read =
            |text: &str| Challenge::of([HeaderValue::from_str(text).unwrap()].iter()).resource_metadata;
        let url = Some("https://a.example/m".to_owned());
        assert_eq!(read("Bearer error=\"invalid_token\", resource_metadata=\"https://a.example/m\""), url);
        assert_eq!(read("Bearer resource_metadata=https://a.example/m, scope=\"x\""), url);
        for none in [
            "Bearer",
            "Bearer error_description=\"see resource_metadata=https://b.example/\"",
            "Bearer x=\"\\\" resource_metadata=https://b.example/\"",
            "Bearer xresource_metadata=\"https://b.example/\"",
            "Bearer resource_metadata=\"https://b.example/",
        ] {
            assert_eq!(read(none), None, "{none}");
        }
    }
    proptest! {
        #[test]
        fn no_header_is_a_fault(text in "[ -~]{0,80}(resource_metadata=)?[ -~]{0,80}") {
            drop(Challenge::of([HeaderValue::from_str(&text).unwrap()].iter()));
        }
    }
}
