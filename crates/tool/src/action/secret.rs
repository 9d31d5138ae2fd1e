//! Secrets of the operator. The only ways to the text are [`Secret::reveal`], which is called where a request is made, where an
//! answer is searched and where the operator's database is named, and [`Secret::text`], for the program that the operator hands
//! it to.

use core::fmt;
use std::collections::BTreeMap;
use std::sync::Arc;

use ring::hmac;
use zeroize::Zeroizing;

/// The shortest secret, in bytes: a shorter one cannot be told from the words of an answer, nor is it one.
const BYTES_MIN: usize = 8;

/// The longest secret, in bytes: a header holds it.
const BYTES_MAX: usize = 4096;

/// The longest name, in bytes.
const NAME_MAX: usize = 64;

/// A secret and its name. What shows it shows the name.
#[derive(Clone)]
pub struct Secret {
    name: Arc<str>,
    text: Arc<Zeroizing<String>>,
}

/// Why a text is no secret. None of these tells it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// The name.
    #[error("a secret is called by 1 to {NAME_MAX} letters, digits and `_ -`")]
    Name,
    /// Its length.
    #[error("a secret has {BYTES_MIN} to {BYTES_MAX} bytes")]
    Length,
    /// What it holds.
    #[error("a secret is one line of printable ASCII, without a blank at an end")]
    Characters,
}

impl Secret {
    /// A secret of one line; line ends behind it are no part of it.
    ///
    /// # Errors
    /// [`BadSecret`] names the rule.
    pub fn new(name: &str, text: Zeroizing<String>) -> Result<Self, BadSecret> {
        let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(in_name) {
            return Err(BadSecret::Name);
        }
        let line = text.trim_end_matches(['\n', '\r']);
        if !(BYTES_MIN..=BYTES_MAX).contains(&line.len()) {
            return Err(BadSecret::Length);
        }
        // A blank at an end is lost on the way, and what comes back without it would not be found.
        if !line.bytes().all(|byte| (b' '..=b'~').contains(&byte)) || line.trim() != line {
            return Err(BadSecret::Characters);
        }
        Ok(Self { name: name.into(), text: Arc::new(Zeroizing::new(line.to_owned())) })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What stands where it would.
    pub(super) fn reference(&self) -> String {
        format!("[secret {}]", self.name)
    }

    /// Its text, for the environment of a program that the operator hands it to.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(self.reveal().to_owned())
    }

    /// HMAC-SHA256 (RFC 2104) over a message, under the bytes of this secret.
    #[must_use]
    pub fn authenticate(&self, message: &[u8]) -> Vec<u8> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.text.as_bytes());
        hmac::sign(&key, message).as_ref().to_vec()
    }

    /// Whether it is this very text.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        self.text.as_str() == text
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reference())
    }
}

/// Every secret of a gateway, by its name.
#[derive(Debug, Clone, Default)]
pub struct Secrets(BTreeMap<String, Secret>);

impl Secrets {
    /// The secret of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Secret> {
        self.0.get(name)
    }
}

impl FromIterator<Secret> for Secrets {
    fn from_iter<I: IntoIterator<Item = Secret>>(secrets: I) -> Self {
        Self(secrets.into_iter().map(|secret| (secret.name().to_owned(), secret)).collect())
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::{BYTES_MAX, BadSecret, Secret, Secrets};

    fn secret(name: &str, text: &str) -> Result<Secret, BadSecret> {
        Secret::new(name, Zeroizing::new(text.to_owned()))
    }

    #[test]
    fn a_secret_shows_its_name_alone() {
        let made = secret("api-key", "s3cr3t-of-the-test\r\n").unwrap();
        assert_eq!(made.reveal(), "s3cr3t-of-the-test");
        assert_eq!(format!("{made:?}"), "[secret api-key]");
        assert_eq!(format!("{:?}", Secrets::from_iter([made])), "Secrets({\"api-key\": [secret api-key]})");
    }

    #[test]
    fn a_message_is_authenticated_as_openssl_does_it() {
        let mac =
            secret("hook", "a key of some length").unwrap().authenticate(b"what do ya want for nothing?");
        let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "e583a9f26604578ffecf034a8056a9ce4e73182c9bcbaaeb35934dbda64d0919");
    }

    #[test]
    fn what_is_no_secret_is_refused_without_being_told() {
        let long = "x".repeat(BYTES_MAX + 1);
        for (name, text, why) in [
            ("", "long enough", BadSecret::Name),
            ("a b", "long enough", BadSecret::Name),
            ("a", "short\n", BadSecret::Length),
            ("a", &long, BadSecret::Length),
            ("a", "two lines\nof text", BadSecret::Characters),
            ("a", "with a blank \n", BadSecret::Characters),
            ("a", "not so ascii é", BadSecret::Characters),
        ] {
            assert_eq!(secret(name, text).err(), Some(why), "{name}");
        }
    }
}
