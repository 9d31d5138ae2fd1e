//! The operator's policy file: read at the start, looked at again while the gateway serves.
//!
//! A file that is wrong never takes effect in part. At the start it stops the gateway; later it leaves the rules as
//! they are, is told at error level, and `/ready` says no until it is mended.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, bail};
use execgate_flow::authorise::Rules;
use execgate_model::{ActionName, Digest};
use execgate_policy::{Policy, PolicyError, PolicySet};
use execgate_receipt::{StrictError, digest_json, parse_strict, sha256};
use execgate_web::{RuleDesk, RuleFault, RuleStanding};
use serde_json::{Value, json};

use super::changes::Voucher;
use super::{PolicyChanges, PolicyFile};

/// Bytes of a policy file that are read; what is longer is refused by the parser.
const READ_BYTES_MAX: u64 = 8 * 1_024 * 1_024;

/// A policy file as it was read.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) policy: Policy,
    /// The same as JSON.
    pub(crate) json: Value,
    /// SHA-256 over its JCS: what names it.
    pub(crate) digest: Digest,
    /// SHA-256 over the bytes, to see whether the file has changed.
    bytes: Digest,
}

fn parse_at(path: &Path, bytes: &[u8]) -> anyhow::Result<Loaded> {
    parse(bytes).with_context(|| format!("the policy {} is wrong", path.display()))
}

/// The bytes of a policy file.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let doing = || format!("failed to read the policy {}", path.display());
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(doing)?;
    if !file.metadata().with_context(doing)?.is_file() {
        bail!("the policy {} is no file", path.display());
    }
    file.take(READ_BYTES_MAX).read_to_end(&mut bytes).with_context(doing)?;
    Ok(bytes)
}

/// Reads a policy from its bytes. Twice: strictly, so that the digest means one thing only, and with its places.
pub(crate) fn parse(bytes: &[u8]) -> anyhow::Result<Loaded> {
    let json = parse_strict(bytes)?;
    let policy = Policy::read(bytes)?;
    let digest = digest_json(&json).context("the policy has no digest")?;
    Ok(Loaded { policy, json, digest, bytes: sha256(bytes) })
}

/// The rules of a gateway, and the file that they come from.
#[derive(Debug)]
pub(crate) struct RuleBook {
    rules: Arc<Rules>,
    allowed: Option<BTreeSet<ActionName>>,
    file: Option<WatchedFile>,
    ground: Ground,
}

/// What there is here that a policy file can name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ground {
    /// The profiles of the sandbox, with the languages that each has.
    pub(crate) profiles: BTreeMap<String, BTreeSet<String>>,
    /// The names of those who may approve.
    pub(crate) approvers: BTreeSet<String>,
    /// The server whose tools the file names by their own names.
    pub(crate) server: Option<String>,
}

impl Ground {
    /// The same rules, by the names that they mean.
    fn named(&self, loaded: Loaded) -> Loaded {
        match &self.server {
            Some(server) => Loaded { policy: loaded.policy.for_server(server), ..loaded },
            None => loaded,
        }
    }

    /// Refuses rules that name a profile that is not there, or that has not the language.
    fn hold(&self, policy: &Policy) -> anyhow::Result<()> {
        for (action, profile, rule) in policy.profiles() {
            let Some(languages) = self.profiles.get(profile) else {
                let names: Vec<_> = self.profiles.keys().map(String::as_str).collect();
                bail!(
                    "the policy names the profile `{profile}` ({rule}), and there are: {}",
                    names.join(", ")
                );
            };
            if !languages.contains(action) {
                bail!(
                    "the policy has `{action}` run in the profile `{profile}` ({rule}), which has no such language"
                );
            }
        }
        for (rule, name) in unknown_approvers(policy, &self.approvers) {
            tracing::warn!(rule, approver = name, "a rule asks for an approver that is not configured");
        }
        Ok(())
    }
}

/// Approvers that the rules name and nobody is, each with the rule.
pub(crate) fn unknown_approvers(policy: &Policy, known: &BTreeSet<String>) -> Vec<(String, String)> {
    let unknown = policy.approvers().filter(|(_, name)| !known.contains(*name));
    unknown.map(|(rule, name)| (rule.to_owned(), name.to_owned())).collect()
}

#[derive(Debug)]
struct WatchedFile {
    path: PathBuf,
    /// Whose change of it counts.
    changes: PolicyChanges,
    /// Who vouches for what is in force.
    voucher: Mutex<Voucher>,
    /// The bytes that were looked at last, good or not. None: they are to be looked at again.
    seen: Mutex<Option<Digest>>,
    /// What is wrong with them.
    fault: Mutex<Option<RuleFault>>,
}

impl RuleBook {
    /// The rules of an allow-list and a file, where they are set. `ground` is what the file may name.
    pub(crate) fn open(
        allowed: Option<BTreeSet<ActionName>>,
        file: Option<&PolicyFile>,
        ground: Ground,
    ) -> anyhow::Result<Self> {
        let opened = file.map(WatchedFile::open).transpose()?;
        let (file, loaded) =
            opened.map_or((None, None), |(file, loaded)| (Some(file), Some(ground.named(loaded))));
        if let Some(loaded) = &loaded {
            ground.hold(&loaded.policy)?;
        }
        let rules = Arc::new(Rules::new(rules(allowed.clone(), loaded)?));
        Ok(Self { rules, allowed, file, ground })
    }

    /// Where the rules in force hang.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules)
    }

    /// Whether there is a file to look at.
    pub(crate) fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Whether the rules in force are those of the file as it is.
    pub(crate) fn is_sound(&self) -> bool {
        self.file.as_ref().is_none_or(|file| file.fault().is_none())
    }

    /// Looks at the file, and puts it in force if it has changed and is right.
    pub(crate) fn look(&self) {
        let Some(file) = &self.file else { return };
        let mut seen = file.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = match read(&file.path) {
            Ok(bytes) => bytes,
            Err(error) => {
                file.tell(
                    RuleFault::Unreadable,
                    &error,
                    "the policy cannot be read; the old one stays in force",
                );
                *seen = None;
                return;
            }
        };
        let now = sha256(&bytes);
        if *seen == Some(now) {
            return;
        }
        let mut voucher = file.voucher.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = match file.changes.allow(&file.path, &bytes, &voucher) {
            Ok(allowed) => allowed,
            Err(error) => {
                file.tell(
                    RuleFault::NotVouched,
                    &error,
                    "the policy was changed, and not by one whose change counts; the old one stays in force",
                );
                // What vouches for it may come later.
                *seen = None;
                return;
            }
        };
        *seen = Some(now);
        let read = parse(&bytes).and_then(|loaded| {
            self.ground.hold(&loaded.policy)?;
            rules(self.allowed.clone(), Some(self.ground.named(loaded)))
        });
        match read {
            Ok(rules) => {
                tracing::info!(digest = %rules.digest(), "a new policy is in force");
                self.rules.replace(rules);
                *voucher = allowed;
                *file.fault() = None;
            }
            Err(error) => {
                *file.fault() = Some(RuleFault::Wrong { place: place_of(&error) });
                tracing::error!(
                    error = format!("{error:#}"),
                    "the new policy is wrong; the old one stays in force"
                );
            }
        }
    }
}

impl WatchedFile {
    /// The file at a path, and what it holds now. Where it is vouched for by where it lies, that is the place that counts.
    fn open(file: &PolicyFile) -> anyhow::Result<(Self, Loaded)> {
        let PolicyFile { path, changes, .. } = file.clone();
        let doing = || format!("failed to find the policy {}", file.path.display());
        let path = match changes {
            PolicyChanges::OfTheFile | PolicyChanges::Signed(_) => path,
            PolicyChanges::OfOthersThan(_) => fs::canonicalize(&path).with_context(doing)?,
        };
        let bytes = read(&path)?;
        let voucher = Mutex::new(changes.allow_start(&path, &bytes)?);
        let loaded = parse_at(&path, &bytes)?;
        let seen = Mutex::new(Some(loaded.bytes));
        Ok((Self { path, changes, voucher, seen, fault: Mutex::new(None) }, loaded))
    }

    /// Says once that the file is not what is in force.
    fn tell(&self, fault: RuleFault, error: &anyhow::Error, what: &'static str) {
        if self.fault().replace(fault) != Some(fault) {
            tracing::error!(error = format!("{error:#}"), "{what}");
        }
    }

    fn fault(&self) -> MutexGuard<'_, Option<RuleFault>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RuleDesk for RuleBook {
    fn standing(&self) -> RuleStanding {
        RuleStanding {
            digest: self.rules.now().digest(),
            file: self.file.as_ref().map(|file| file.path.display().to_string()),
            fault: self.file.as_ref().and_then(|file| *file.fault()),
        }
    }

    fn look(&self) {
        Self::look(self);
    }
}

/// Line and column of what is wrong in a file, where they are known.
fn place_of(error: &anyhow::Error) -> Option<(usize, usize)> {
    if let Some(PolicyError { line, column, .. }) = error.downcast_ref::<PolicyError>() {
        return Some((*line, *column));
    }
    match error.downcast_ref::<StrictError>()? {
        StrictError::DuplicateKey { line, column, .. }
        | StrictError::InexactNumber { line, column, .. }
        | StrictError::TooDeep { line, column, .. }
        | StrictError::Trailing { line, column }
        | StrictError::Syntax { line, column, .. } => Some((*line, *column)),
        StrictError::NotUtf8 { .. } | StrictError::ByteOrderMark => None,
    }
}

/// Puts allow-list and file together. The digest is over the file alone where it alone rules, so that anybody who
/// has the file can make it; with an allow-list it is over both.
fn rules(allowed: Option<BTreeSet<ActionName>>, loaded: Option<Loaded>) -> anyhow::Result<PolicySet> {
    Ok(match (allowed, loaded) {
        (None, Some(loaded)) => PolicySet::new(None, loaded.digest).with_policy(loaded.policy),
        (allowed, None) => {
            let digest = digest_json(&json!({"allowed_actions": allowed}))?;
            PolicySet::new(allowed, digest)
        }
        (Some(allowed), Some(loaded)) => {
            let digest = digest_json(&json!({"allowed_actions": allowed, "policy": loaded.json}))?;
            PolicySet::new(Some(allowed), digest).with_policy(loaded.policy)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use execgate_receipt::{digest_json, parse_strict};

    use super::{Ground, PolicyFile, RuleBook};

    const OPEN: &str = "{\"version\": \"1\", \"default\": \"allow\"}";
    const CLOSED: &str = "{\"version\": \"1\", \"default\": \"deny\"}";

    fn digest(text: &str) -> String {
        digest_json(&parse_strict(text.as_bytes()).unwrap()).unwrap().to_string()
    }

    #[test]
    fn a_new_file_takes_effect_and_a_wrong_one_never_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.json");
        fs::write(&path, OPEN).unwrap();
        let book = RuleBook::open(None, Some(&PolicyFile::at(&path)), Ground::default()).unwrap();
        let state = || {
            book.look();
            (book.rules().now().digest().to_string(), book.is_sound())
        };
        assert_eq!(state(), (digest(OPEN), true));
        fs::write(&path, CLOSED).unwrap();
        assert_eq!(state(), (digest(CLOSED), true));
        fs::write(&path, "{\"version\": \"1\", \"default\": \"allow\", \"oops\": 1}").unwrap();
        assert_eq!(state(), (digest(CLOSED), false));
        assert_eq!(state(), (digest(CLOSED), false));
        fs::remove_file(&path).unwrap();
        assert_eq!(state(), (digest(CLOSED), false));
        // The same file again is as good as it was.
        fs::write(&path, CLOSED).unwrap();
        assert_eq!(state(), (digest(CLOSED), true));
    }

    #[test]
    fn a_profile_that_is_not_there_is_refused_at_the_start_and_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.json");
        let file = |action: &str, profile: &str| {
            let tools = format!("{{\"{action}\": {{\"profile\": \"{profile}\"}}}}");
            format!("{{\"version\": \"1\", \"default\": \"allow\", \"tools\": {tools}}}")
        };
        let languages = ["python".to_owned()].into();
        let ground = Ground { profiles: [("data".to_owned(), languages)].into(), ..Ground::default() };
        for (action, profile) in [("python", "date"), ("bash", "data"), ("echo", "data")] {
            fs::write(&path, file(action, profile)).unwrap();
            let error =
                RuleBook::open(None, Some(&PolicyFile::at(&path)), ground.clone()).unwrap_err().to_string();
            assert!(error.contains(&format!("(/tools/{action}/profile)")), "{error}");
        }
        fs::write(&path, file("python", "data")).unwrap();
        let book = RuleBook::open(None, Some(&PolicyFile::at(&path)), ground).unwrap();
        let before = book.rules().now().digest();
        fs::write(&path, file("python", "gone")).unwrap();
        book.look();
        assert_eq!((book.is_sound(), book.rules().now().digest()), (false, before));
    }

    #[test]
    fn a_wrong_file_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.json");
        for (text, wanted) in [
            ("{\"version\": \"1\",\n \"defalt\": \"deny\"}", "the field `default` is missing"),
            ("{\"version\": \"1\",\n \"default\": \"deny\", \"hides\": []}", "line 2 column 21 (/hides)"),
            ("{\"version\": \"1\",\n \"version\": \"1\"}", "an object has the key `version` twice"),
            ("{", "line 1 column 1"),
        ] {
            fs::write(&path, text).unwrap();
            let error = format!(
                "{:#}",
                RuleBook::open(None, Some(&PolicyFile::at(&path)), Ground::default()).unwrap_err()
            );
            assert!(error.contains("policy.json is wrong") && error.contains(wanted), "{error}");
        }
        let missing =
            RuleBook::open(None, Some(&PolicyFile::at(&folder.path().join("none.json"))), Ground::default())
                .unwrap_err();
        assert!(missing.to_string().starts_with("failed to read the policy"), "{missing}");
        assert!(RuleBook::open(None, Some(&PolicyFile::at(folder.path())), Ground::default()).is_err());
    }
}
