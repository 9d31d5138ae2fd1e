//! The secrets that a gateway makes itself, and when one takes the place of another. Where they are kept is not its
//! business. Every change here needs a second reader.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use execgate_model::UnixMs;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::{Secret, SecretError, Secrets};

/// How long one secret makes new challenges: 30 days.
pub const MAKES_MS: u64 = 30 * 24 * 60 * 60 * 1000;

/// How long a new secret is known before it makes challenges, so that every process that shares it has read it: an hour.
pub const AHEAD_MS: u64 = 60 * 60 * 1000;

/// How long a secret is known after another took its place: a day, which no challenge lives.
pub const OVERLAP_MS: u64 = 24 * 60 * 60 * 1000;

/// The version of what is stored.
const VERSION: u8 = 1;

/// Why stored bytes are no ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// They are not the JSON that is written. Nothing of them is in the text.
    #[error("these are no secrets of challenges")]
    Json,
    /// A later version wrote them.
    #[error("these secrets of challenges were written by a later version")]
    Version,
    /// What they hold is not enough, or too much.
    #[error("these secrets of challenges are wrong")]
    Secret(#[source] SecretError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    v: u8,
    secrets: Vec<StoredSecret>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSecret {
    secret: String,
    from_ms: u64,
}

impl Drop for StoredSecret {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

#[derive(Clone)]
struct Entry {
    bytes: Zeroizing<Vec<u8>>,
    from: UnixMs,
}

/// Secrets and from when each makes challenges, the oldest first. There is at least one.
#[derive(Clone)]
pub struct Ring(Vec<Entry>);

impl Ring {
    /// A ring of one secret, which makes challenges at once.
    #[must_use]
    pub fn first(now: UnixMs, fresh: [u8; 32]) -> Self {
        Self(vec![Entry { bytes: Zeroizing::new(fresh.to_vec()), from: now }])
    }

    /// The ring as it should be now, where it should be another: with a new secret, where the newest has made challenges
    /// for long enough, and without those that nobody's challenge can be of.
    #[must_use]
    pub fn turned(&self, now: UnixMs, fresh: [u8; 32]) -> Option<Self> {
        let mut entries = self.0.clone();
        if self.newest().from.0.saturating_add(MAKES_MS) <= now.0 {
            let from = UnixMs(now.0.saturating_add(AHEAD_MS));
            entries.push(Entry { bytes: Zeroizing::new(fresh.to_vec()), from });
        }
        let is_past = |next: &Entry| next.from.0.saturating_add(OVERLAP_MS) <= now.0;
        let past = entries.iter().skip(1).take_while(|next| is_past(next)).count();
        entries.drain(..past);
        (entries.len() != self.0.len() || past > 0).then_some(Self(entries))
    }

    /// The secrets in force: the one that makes challenges now first.
    ///
    /// # Errors
    /// [`RingError::Secret`] where there are none.
    pub fn at(&self, now: UnixMs) -> Result<Secrets, RingError> {
        let makes = self.0.iter().rposition(|entry| entry.from <= now).unwrap_or(0);
        let others = self.0.iter().enumerate().filter(|(index, _)| *index != makes).map(|(_, entry)| entry);
        let entries = self.0.get(makes).into_iter().chain(others);
        let secrets: Result<_, _> = entries.map(|entry| Secret::new(entry.bytes.to_vec())).collect();
        secrets.and_then(Secrets::new).map_err(RingError::Secret)
    }

    /// The bytes to keep. Whoever has them can make challenges.
    ///
    /// # Errors
    /// [`RingError::Json`], which no ring leads to.
    pub fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, RingError> {
        let stored =
            |entry: &Entry| StoredSecret { secret: STANDARD.encode(&entry.bytes), from_ms: entry.from.0 };
        let stored = Stored { v: VERSION, secrets: self.0.iter().map(stored).collect() };
        serde_json::to_vec(&stored).map(Zeroizing::new).map_err(|_| RingError::Json)
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`RingError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RingError> {
        let stored: Stored = serde_json::from_slice(bytes).map_err(|_| RingError::Json)?;
        if stored.v != VERSION {
            return Err(RingError::Version);
        }
        let entry = |stored: &StoredSecret| {
            let bytes = STANDARD.decode(&stored.secret).map_err(|_| RingError::Json)?;
            Ok(Entry { bytes: Zeroizing::new(bytes), from: UnixMs(stored.from_ms) })
        };
        let ring = Self(stored.secrets.iter().map(entry).collect::<Result<_, _>>()?);
        // What could not be used is told now, and not at the first challenge.
        ring.at(UnixMs(0)).map(|_| ring)
    }

    fn newest(&self) -> &Entry {
        &self.0[self.0.len() - 1]
    }
}

#[cfg(test)]
mod tests {
    use execgate_model::UnixMs;

    use super::{AHEAD_MS, MAKES_MS, OVERLAP_MS, Ring, RingError};
    use crate::mpp::Challenge;

    fn challenge() -> Challenge {
        Challenge {
            realm: "r".to_owned(),
            method: "evm".to_owned(),
            intent: "charge".to_owned(),
            request: "e30".to_owned(),
            expires: None,
            digest: None,
            header: None,
            opaque: None,
            description: None,
        }
    }

    /// The secret, by its byte, that makes challenges at a time.
    fn makes(ring: &Ring, at: u64) -> u8 {
        let id = challenge().id(ring.at(UnixMs(at)).unwrap().newest()).unwrap();
        let is_of =
            |byte: &u8| challenge().id(&crate::mpp::Secret::new([*byte; 32]).unwrap()) == Ok(id.clone());
        (1..10).find(is_of).unwrap()
    }

    #[test]
    fn a_secret_takes_over_an_hour_after_it_is_known_and_the_old_one_stays_a_day() {
        let start = 1_000_000;
        let first = Ring::first(UnixMs(start), [1; 32]);
        assert!(first.turned(UnixMs(start + MAKES_MS - 1), [2; 32]).is_none());
        let turn = start + MAKES_MS;
        let second = first.turned(UnixMs(turn), [2; 32]).unwrap();
        assert_eq!((makes(&second, turn), makes(&second, turn + AHEAD_MS)), (1, 2));
        let of_first = challenge().id(first.at(UnixMs(turn)).unwrap().newest()).unwrap();
        assert!(challenge().is_known_as(&of_first, &second.at(UnixMs(turn + AHEAD_MS)).unwrap()));
        assert!(second.turned(UnixMs(turn + AHEAD_MS + OVERLAP_MS - 1), [3; 32]).is_none());
        let alone = second.turned(UnixMs(turn + AHEAD_MS + OVERLAP_MS), [3; 32]).unwrap();
        assert!(!challenge().is_known_as(&of_first, &alone.at(UnixMs(turn + AHEAD_MS)).unwrap()));
        assert_eq!(makes(&alone, turn + AHEAD_MS + OVERLAP_MS), 2);
    }

    #[test]
    fn a_ring_that_slept_for_a_year_makes_challenges_at_once_and_soon_others() {
        let year = 12 * MAKES_MS;
        let woken = Ring::first(UnixMs(0), [1; 32]).turned(UnixMs(year), [2; 32]).unwrap();
        assert_eq!((makes(&woken, year), makes(&woken, year + AHEAD_MS)), (1, 2));
    }

    #[test]
    fn a_ring_is_read_as_it_was_written_and_nothing_else_is() {
        let ring = Ring::first(UnixMs(7), [1; 32]).turned(UnixMs(7 + MAKES_MS), [2; 32]).unwrap();
        let bytes = ring.to_bytes().unwrap();
        let read = Ring::from_bytes(&bytes).unwrap();
        assert_eq!(read.to_bytes().unwrap(), bytes);
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert_eq!(
            Ring::from_bytes(text.replace("\"v\":1", "\"v\":2").as_bytes()).err(),
            Some(RingError::Version)
        );
        for wrong in ["", "{}", r#"{"v":1,"secrets":[{"secret":"!","from_ms":0}]}"#] {
            assert_eq!(Ring::from_bytes(wrong.as_bytes()).err(), Some(RingError::Json));
        }
        for wrong in [r#"{"v":1,"secrets":[]}"#, r#"{"v":1,"secrets":[{"secret":"AAAA","from_ms":0}]}"#] {
            assert!(matches!(Ring::from_bytes(wrong.as_bytes()).err(), Some(RingError::Secret(_))));
        }
    }
}
