//! The gateway's own keys: each has come, and gone, by a change that has its leaf. A row alone makes nobody a signer.

use execgate_receipt::{VerifyingKey, parse_strict};
use execgate_store::{OWN_KEYS_MAX, OwnKey};

/// What the changes have said of keys.
#[derive(Debug, Default)]
pub(super) struct OwnKeys(Vec<Said>);

#[derive(Debug)]
struct Said {
    retires: bool,
    purpose: String,
    pem: String,
    seq: u64,
}

impl OwnKeys {
    /// Takes note of a change, where it is one of a key.
    pub(super) fn hear(&mut self, seq: u64, statement: &[u8]) {
        let Ok(said) = parse_strict(statement) else { return };
        let retires = match said["change"].as_str() {
            Some("key-added") => false,
            Some("key-retired") => true,
            Some(_) | None => return,
        };
        let text = |name: &str| said["about"][name].as_str().unwrap_or_default().to_owned();
        // Each key has two at the most; what is beyond that is told by what it is missing for.
        if self.0.len() < 2 * OWN_KEYS_MAX {
            self.0.push(Said { retires, purpose: text("purpose"), pem: text("public_key"), seq });
        }
    }

    /// What does not fit: in words, a key each.
    pub(super) fn judge(&self, keys: &[OwnKey]) -> Vec<String> {
        keys.iter().filter_map(|key| self.judge_one(key)).collect()
    }

    fn judge_one(&self, key: &OwnKey) -> Option<String> {
        let purpose = key.purpose.as_str();
        let Ok(public) = VerifyingKey::from_bytes(&key.public) else {
            return Some(format!("a {purpose} key of the gateway cannot be read"));
        };
        let pem = public.to_spki_pem().ok()?;
        let of = |retires| {
            let of = move |said: &&Said| said.retires == retires && said.purpose == purpose;
            self.0.iter().filter(of).filter(|said| said.pem == pem).map(|said| said.seq).collect::<Vec<_>>()
        };
        let wrong = if of(false).len() != 1 {
            "no change has added it"
        } else {
            match (key.retired, of(true).as_slice()) {
                (None, []) => return None,
                // It was retired when the log had all the leaves before that of the change.
                (Some(retired), [seq]) if retired.size + 1 == *seq => return None,
                (None, _) => "a change has retired it, and it counts",
                (Some(_), _) => "it is retired otherwise than a change says",
            }
        };
        Some(format!("the {purpose} key {}: {wrong}", public.key_id()))
    }
}
