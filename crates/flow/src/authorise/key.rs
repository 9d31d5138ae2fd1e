//! The key of a grant: `eg_<id>_<secret>`. Every change here needs a second reader.
//!
//! The secret is 32 random bytes, so that what checks it can be a plain digest: there is nothing to guess that a slow
//! hash would protect. A key is told once, by [`GrantKey::expose`], and by nothing else: not by `Debug`, not by an error.

use core::fmt;

use execgate_model::{Digest, Entropy, GrantId};
use execgate_receipt::sha256;

/// What every key begins with, so that scanners for secrets know one.
const PREFIX: &str = "eg_";

/// The secret in lowercase hexadecimal: 32 bytes.
const SECRET_LENGTH: usize = 64;

/// The longest key, in bytes: an id of 64.
const KEY_MAX: usize = PREFIX.len() + 64 + 1 + SECRET_LENGTH;

/// The key of a grant, as its holder shows it.
pub struct GrantKey {
    id: GrantId,
    secret: String,
}

impl fmt::Debug for GrantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrantKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl GrantKey {
    /// A new key for a grant.
    #[must_use]
    pub fn mint(id: GrantId, entropy: &dyn Entropy) -> Self {
        Self { id, secret: Digest::from_bytes(entropy.thirty_two()).to_hex() }
    }

    /// Reads a key by its form; whether it opens anything is another question.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX).filter(|_| text.len() <= KEY_MAX)?;
        // The last one: an id may hold underscores, a secret holds none.
        let (id, secret) = rest.rsplit_once('_')?;
        let digits = secret.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let id = GrantId::new(id).ok().filter(|_| digits && secret.len() == SECRET_LENGTH)?;
        Some(Self { id, secret: secret.to_owned() })
    }

    /// The grant that it says it is of.
    #[must_use]
    pub fn id(&self) -> &GrantId {
        &self.id
    }

    /// What checks it, and is kept.
    #[must_use]
    pub fn digest(&self) -> Digest {
        sha256(format!("execgate grant key v1\n\n{}\n\n{}", self.id, self.secret).as_bytes())
    }

    /// The key itself: for its holder, once.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("{PREFIX}{}_{}", self.id, self.secret)
    }
}

#[cfg(test)]
mod tests {
    use execgate_model::{Entropy, GrantId};

    use super::GrantKey;

    struct Sevens;

    impl Entropy for Sevens {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(7);
        }
    }

    fn key(id: &str) -> GrantKey {
        GrantKey::mint(GrantId::new(id).unwrap(), &Sevens)
    }

    #[test]
    fn a_key_reads_back_whatever_its_grant_is_called() {
        for id in ["g1", "a_b", "_", "eg_x", &"i".repeat(64)] {
            let told = key(id).expose();
            let read = GrantKey::parse(&told).unwrap();
            assert_eq!((read.id().as_str(), read.digest(), read.expose()), (id, key(id).digest(), told));
        }
    }

    #[test]
    fn what_has_not_the_form_of_a_key_is_none() {
        let good = key("g1").expose();
        for bad in [
            String::new(),
            "eg_".to_owned(),
            "eg_g1".to_owned(),
            good.to_uppercase(),
            good.replacen("eg_", "", 1),
            good.replacen("g1", "", 1),
            good.replacen("g1", "g/1", 1),
            good.replacen("g1", &"i".repeat(65), 1),
            good[..good.len() - 1].to_owned(),
            format!("{good}0"),
            format!("{good} "),
            good.replacen("07", "0A", 1),
        ] {
            assert!(GrantKey::parse(&bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_key_is_not_told_by_its_debug_output_and_its_digest_is_its_own() {
        let text = format!("{:?}", key("g1"));
        assert!(text.contains("g1") && !text.contains("0707"), "{text}");
        assert_ne!(key("g1").digest(), key("g2").digest());
    }
}
