//! The secrets by which a gateway knows its own challenges. They stand in no answer, log, error or `Debug` text.
//! Every change here needs a second reader.

use core::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// How short a secret may be, in bytes: what HMAC-SHA256 gives.
pub const MIN_SECRET_BYTES: usize = 32;

/// How many secrets may be in force at once. More would be a mistake, and each costs a hash where none fits.
const MAX_SECRETS: usize = 8;

/// One secret.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// Why there are no secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It could be guessed.
    #[error("a secret of challenges has at least {MIN_SECRET_BYTES} bytes")]
    Short,
    /// Nothing could be signed.
    #[error("there is no secret of challenges")]
    None,
    /// More than anybody needs.
    #[error("there are more than {MAX_SECRETS} secrets of challenges")]
    Many,
}

impl Secret {
    /// A secret of these bytes, as they are.
    ///
    /// # Errors
    /// [`SecretError::Short`].
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, SecretError> {
        let bytes = Zeroizing::new(bytes.into());
        if bytes.len() < MIN_SECRET_BYTES { Err(SecretError::Short) } else { Ok(Self(bytes)) }
    }

    /// HMAC-SHA256 over a text.
    pub(super) fn tag(&self, text: &str) -> [u8; 32] {
        self.mac(text).map(|mac| mac.finalize().into_bytes().into()).unwrap_or_default()
    }

    /// Whether that is the tag of the text, in constant time.
    pub(super) fn is_tag(&self, text: &str, tag: &[u8]) -> bool {
        self.mac(text).is_some_and(|mac| mac.verify_slice(tag).is_ok())
    }

    fn mac(&self, text: &str) -> Option<Hmac<Sha256>> {
        // A key of any length is good for HMAC.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(text.as_bytes());
        Some(mac)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The secrets in force: the first makes new challenges, and all of them know theirs again.
#[derive(Debug, Clone)]
pub struct Secrets(Vec<Secret>);

impl Secrets {
    /// Secrets, the newest first.
    ///
    /// # Errors
    /// [`SecretError`] where there is none, or too many.
    pub fn new(secrets: Vec<Secret>) -> Result<Self, SecretError> {
        match secrets.len() {
            0 => Err(SecretError::None),
            1..=MAX_SECRETS => Ok(Self(secrets)),
            _ => Err(SecretError::Many),
        }
    }

    /// The one that makes new challenges.
    #[must_use]
    pub fn newest(&self) -> &Secret {
        &self.0[0]
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Secret> {
        self.0.iter()
    }
}

/// The secrets in force, which may become others while a gateway serves.
#[derive(Debug)]
pub struct InForce(RwLock<Arc<Secrets>>);

impl InForce {
    /// These secrets, until they are replaced.
    #[must_use]
    pub fn new(secrets: Secrets) -> Self {
        Self(RwLock::new(Arc::new(secrets)))
    }

    /// The secrets in force.
    #[must_use]
    pub fn now(&self) -> Arc<Secrets> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts others in force.
    pub fn replace(&self, secrets: Secrets) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(secrets);
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_SECRETS, Secret, SecretError, Secrets};

    #[test]
    fn a_secret_is_long_and_is_shown_by_nothing() {
        assert_eq!(Secret::new(*b"too short").map(drop), Err(SecretError::Short));
        let secret = Secret::new([b'x'; 32]).unwrap();
        assert_eq!(format!("{:?}", Secrets::new(vec![secret]).unwrap()), "Secrets([Secret])");
    }

    #[test]
    fn there_is_at_least_one_and_there_are_not_many() {
        assert_eq!(Secrets::new(Vec::new()).map(drop), Err(SecretError::None));
        let many = vec![Secret::new([0; 32]).unwrap(); MAX_SECRETS + 1];
        assert_eq!(Secrets::new(many).map(drop), Err(SecretError::Many));
    }
}
