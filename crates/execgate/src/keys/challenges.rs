//! The secrets by which a gateway knows its own payment challenges, in `keys/challenges.json` of its data directory. Every
//! process that shares the directory reads them there; whoever finds the newest too old adds another.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use execgate_model::{Clock, Entropy};
use execgate_payment::mpp::{InForce, Ring};
use tokio::time::{MissedTickBehavior, interval};

use super::file;

/// How often the file is read again: much more often than a new secret is known before it makes challenges.
const LOOK_EVERY: Duration = Duration::from_secs(600);

/// The secrets of one data directory.
pub(crate) struct ChallengeSecrets {
    path: PathBuf,
    entropy: Arc<dyn Entropy>,
    clock: Arc<dyn Clock>,
}

impl ChallengeSecrets {
    /// Those of a data directory. Nothing is read yet.
    pub(crate) fn new(data_dir: &Path, entropy: Arc<dyn Entropy>, clock: Arc<dyn Clock>) -> Self {
        Self { path: data_dir.join("keys").join("challenges.json"), entropy, clock }
    }

    /// The secrets in force; the first are made.
    pub(crate) fn open(&self) -> anyhow::Result<Arc<InForce>> {
        let ring = self.ring()?;
        Ok(Arc::new(InForce::new(ring.at(self.clock.now())?)))
    }

    /// Reads them again and again, until it is aborted.
    pub(crate) async fn keep(self, in_force: Arc<InForce>) {
        let mut every = interval(LOOK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let looked = self.ring().and_then(|ring| Ok(ring.at(self.clock.now())?));
            match looked {
                Ok(secrets) => in_force.replace(secrets),
                // Those that were read last go on.
                Err(error) => tracing::error!(%error, "the secrets of payment challenges cannot be read"),
            }
        }
    }

    fn ring(&self) -> anyhow::Result<Ring> {
        let now = self.clock.now();
        if !self.path.exists() {
            let folder = self.path.parent().context("a key lies in a folder")?;
            file::make_folder(folder)?;
            let first = Ring::first(now, self.entropy.thirty_two()).to_bytes()?;
            file::write_new(&self.path, &first, &*self.entropy)?;
        }
        let ring = self.read()?;
        let Some(turned) = ring.turned(now, self.entropy.thirty_two()) else { return Ok(ring) };
        file::replace_secret(&self.path, &turned.to_bytes()?, &*self.entropy)?;
        // Of two that turn it at once the later one stays, and neither has signed with its own yet.
        self.read()
    }

    fn read(&self) -> anyhow::Result<Ring> {
        let shown = self.path.display();
        let look = || format!("failed to look at {shown}");
        let mode = fs::metadata(&self.path).with_context(look)?.permissions().mode();
        if mode & 0o077 != 0 {
            bail!("the secrets of payment challenges can be read by others; run: chmod 600 {shown}");
        }
        let bytes = fs::read(&self.path).with_context(|| format!("failed to read {shown}"))?;
        let bytes = zeroize::Zeroizing::new(bytes);
        Ring::from_bytes(&bytes).with_context(|| format!("{shown} cannot be read"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use execgate_model::{Clock, UnixMs};
    use execgate_payment::mpp::{AHEAD_MS, Challenge, InForce, MAKES_MS, OVERLAP_MS};

    use super::ChallengeSecrets;
    use crate::ports::SystemEntropy;

    struct Hands(AtomicU64);

    impl Clock for Hands {
        fn now(&self) -> UnixMs {
            UnixMs(self.0.load(Ordering::SeqCst))
        }

        fn monotonic_us(&self) -> u64 {
            0
        }
    }

    fn made(in_force: &InForce) -> (Challenge, String) {
        let text = || "x".to_owned();
        let challenge = Challenge {
            realm: text(),
            method: text(),
            intent: text(),
            request: text(),
            expires: None,
            digest: None,
            header: None,
            opaque: None,
            description: None,
        };
        let id = challenge.id(in_force.now().newest()).unwrap();
        (challenge, id)
    }

    #[test]
    fn secrets_are_made_once_kept_from_others_and_take_turns() {
        let data = tempfile::tempdir().unwrap();
        let hands = Arc::new(Hands(AtomicU64::new(1_000)));
        let secrets = || {
            ChallengeSecrets::new(data.path(), Arc::new(SystemEntropy), Arc::clone(&hands) as Arc<dyn Clock>)
        };
        let (challenge, id) = made(&secrets().open().unwrap());
        let path = data.path().join("keys/challenges.json");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let knows = || challenge.is_known_as(&id, &secrets().open().unwrap().now());
        assert!(knows(), "another process makes no other secret");
        hands.0.fetch_add(MAKES_MS, Ordering::SeqCst);
        assert_eq!(
            made(&secrets().open().unwrap()).1,
            id,
            "a new secret is known before it makes challenges"
        );
        hands.0.fetch_add(AHEAD_MS, Ordering::SeqCst);
        assert_ne!(made(&secrets().open().unwrap()).1, id);
        assert!(knows());
        hands.0.fetch_add(OVERLAP_MS, Ordering::SeqCst);
        assert!(!knows());
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(secrets().open().unwrap_err().to_string().contains("chmod 600"));
    }
}
