//! `[payment.mpp]`: how callers are asked to pay by challenge, by which methods, and to which accounts beside the wallet.
//!
//! Keys are read once, at the start ([`Challenges::read_keys`]), and no error tells one.

use core::fmt;
use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use execgate_payment::evm::Address;
use execgate_payment::mpp::{CredentialHeader, PAY_WITHIN_S, StripeAccount, TempoToken, is_realm};
use zeroize::Zeroizing;

use super::file::{CredentialSetting, MethodSetting, MppSection, StripeSection, TempoSection};
use super::secret_of_file;

/// The address of Stripe.
const STRIPE: &str = "https://api.stripe.com";

/// For how long a client may think, in seconds: below a person has no time, above a price is held for nobody.
const CHALLENGE_S: core::ops::RangeInclusive<u64> = 30..=3_600;

/// The chains of Tempo: the one whose money is worth nothing, and the other.
const TEMPO_TESTNET: u64 = 42_431;
const TEMPO_MAINNET: u64 = 4_217;

/// How the keys of Stripe begin, and whether their money is worth nothing.
const STRIPE_KEYS: [(&str, bool); 4] =
    [("sk_test_", true), ("rk_test_", true), ("sk_live_", false), ("rk_live_", false)];

/// The longest key of Stripe's that is taken, in bytes.
const STRIPE_KEY_MAX: usize = 255;

/// What Stripe takes that a payer can show a token of.
const STRIPE_TYPES: [&str; 2] = ["card", "link"];

/// How a profile of Stripe's network begins, and how long it is at the most.
const PROFILE: &str = "profile_";
const PROFILE_MAX: usize = 64;

/// How callers are asked to pay by challenge.
#[derive(Debug, Clone)]
pub(crate) struct Challenges {
    /// In the order in which they are offered. None: nobody is asked so.
    pub(crate) methods: Vec<ChallengeMethod>,
    /// The protection space; none: the name of the host.
    pub(crate) realm: Option<String>,
    /// For how long a client may think, in seconds.
    pub(crate) pay_within_s: u64,
    /// Where the credential is asked for.
    pub(crate) header: CredentialHeader,
}

/// A way to pay by challenge.
#[derive(Debug, Clone)]
pub(crate) enum ChallengeMethod {
    /// The tokens of the wallet.
    Evm,
    /// Cards, by Stripe.
    Stripe(StripeSettings),
    /// Transfers on the Tempo chain.
    Tempo(TempoSettings),
}

/// An account at Stripe.
#[derive(Debug, Clone)]
pub(crate) struct StripeSettings {
    pub(crate) url: String,
    key_file: PathBuf,
    /// Its key is read at the start.
    pub(crate) account: StripeAccount,
}

/// An account on the Tempo chain.
#[derive(Clone)]
pub(crate) struct TempoSettings {
    pub(crate) rpc: String,
    pub(crate) token: TempoToken,
}

impl fmt::Debug for TempoSettings {
    /// The address of a node may hold a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TempoSettings").field("token", &self.token).finish_non_exhaustive()
    }
}

impl ChallengeMethod {
    /// Its name in the scheme.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Evm => "evm",
            Self::Stripe(_) => "stripe",
            Self::Tempo(_) => "tempo",
        }
    }

    /// Whether it was ever tried against what it is for, and not only against doubles of ours.
    pub(crate) const fn is_proven(&self) -> bool {
        matches!(self, Self::Evm)
    }

    /// Who is asked for it, where that is somebody else than whoever settles. The address of a node may hold a key: it is not
    /// told.
    pub(crate) fn service(&self) -> Option<String> {
        match self {
            Self::Evm => None,
            Self::Stripe(stripe) => Some(stripe.url.clone()),
            Self::Tempo(tempo) => Some(format!("a node of eip155:{}", tempo.token.chain)),
        }
    }
}

impl Challenges {
    /// The section, for a gateway that is paid to that wallet, in money that is worth nothing or in real money, and in tokens
    /// that are moved by EIP-3009 or in none.
    pub(super) fn resolve(
        section: Option<&MppSection>,
        wallet: Address,
        is_testnet: bool,
        by_token: bool,
    ) -> anyhow::Result<Self> {
        let empty = MppSection::default();
        let section = section.unwrap_or(&empty);
        let usual = || if by_token { vec![MethodSetting::Evm] } else { Vec::new() };
        let named = section.methods.clone().unwrap_or_else(usual);
        if named.contains(&MethodSetting::Evm) && !by_token {
            bail!("`payment.mpp.methods` names `evm`, and no token is taken by EIP-3009, which it needs");
        }
        if named.iter().collect::<BTreeSet<_>>().len() != named.len() {
            bail!("`payment.mpp.methods` names a method twice");
        }
        let is_named = |method| named.contains(&method);
        if section.stripe.is_some() && !is_named(MethodSetting::Stripe) {
            bail!("[payment.mpp.stripe] is there, and `payment.mpp.methods` does not name `stripe`");
        }
        if section.tempo.is_some() && !is_named(MethodSetting::Tempo) {
            bail!("[payment.mpp.tempo] is there, and `payment.mpp.methods` does not name `tempo`");
        }
        let mut methods = Vec::new();
        for method in &named {
            methods.push(match method {
                MethodSetting::Evm => ChallengeMethod::Evm,
                MethodSetting::Stripe => ChallengeMethod::Stripe(stripe(section.stripe.as_ref())?),
                MethodSetting::Tempo => {
                    ChallengeMethod::Tempo(tempo(section.tempo.as_ref(), wallet, is_testnet)?)
                }
            });
        }
        if let Some(realm) = section.realm.as_deref().filter(|realm| !is_realm(realm)) {
            bail!("`payment.mpp.realm` is `{realm}`; a realm is the name of a host, such as api.example.com");
        }
        let pay_within_s = section.challenge_s.unwrap_or(PAY_WITHIN_S);
        if !CHALLENGE_S.contains(&pay_within_s) {
            bail!("`payment.mpp.challenge_s` is {pay_within_s}; 30 to 3600 seconds can be");
        }
        let header = match section.header.unwrap_or_default() {
            CredentialSetting::Authorization => CredentialHeader::Authorization,
            CredentialSetting::PaymentAuthorization => CredentialHeader::PaymentAuthorization,
        };
        Ok(Self { methods, realm: section.realm.clone(), pay_within_s, header })
    }

    /// Reads the keys of services, while this process still may.
    ///
    /// # Errors
    /// Where one cannot be read, is none, or moves real money where everything else moves none, or the other way around.
    pub(crate) fn read_keys(&mut self, is_testnet: bool) -> anyhow::Result<()> {
        for method in &mut self.methods {
            if let ChallengeMethod::Stripe(stripe) = method {
                let text = secret_of_file(&stripe.key_file).context("[payment.mpp.stripe] is wrong")?;
                stripe.account.key = stripe_key(&text, is_testnet)?;
            }
        }
        Ok(())
    }
}

fn stripe(section: Option<&StripeSection>) -> anyhow::Result<StripeSettings> {
    let section =
        section.context("`payment.mpp.methods` names `stripe`, and there is no [payment.mpp.stripe]")?;
    let profile = &section.profile;
    let is_profile = profile.strip_prefix(PROFILE).is_some_and(|id| {
        !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    });
    if !is_profile || profile.len() > PROFILE_MAX {
        bail!("`profile` of [payment.mpp.stripe] is no profile of Stripe's network (`profile_…`)");
    }
    let types = section.types.clone().unwrap_or_else(|| STRIPE_TYPES.map(str::to_owned).to_vec());
    if types.is_empty() || types.iter().any(|kind| !STRIPE_TYPES.contains(&kind.as_str())) {
        bail!("`types` of [payment.mpp.stripe] can have {}", STRIPE_TYPES.join(", "));
    }
    let url = section.url.clone().unwrap_or_else(|| STRIPE.to_owned());
    let key = Zeroizing::new(String::new());
    let account = StripeAccount { key, profile: profile.clone(), types };
    Ok(StripeSettings { url, key_file: section.key_file.clone(), account })
}

/// A key of the right kind. Nothing of one that is wrong is told.
fn stripe_key(text: &str, is_testnet: bool) -> anyhow::Result<Zeroizing<String>> {
    let key = text.trim_end_matches(['\r', '\n']);
    let kind = STRIPE_KEYS.into_iter().find(|(start, _)| key.starts_with(start));
    let is_plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let Some((_, is_test)) =
        kind.filter(|(start, _)| is_plain && (start.len() + 1..=STRIPE_KEY_MAX).contains(&key.len()))
    else {
        bail!("the file of [payment.mpp.stripe] holds no secret key of Stripe's (`sk_…`, `rk_…`)");
    };
    if is_test != is_testnet {
        bail!(
            "the key of [payment.mpp.stripe] is {}, and `payment.networks` are not: money that is worth nothing would buy \
             what money buys",
            if is_test { "of test mode" } else { "live" }
        );
    }
    Ok(Zeroizing::new(key.to_owned()))
}

fn tempo(section: Option<&TempoSection>, wallet: Address, is_testnet: bool) -> anyhow::Result<TempoSettings> {
    let section =
        section.context("`payment.mpp.methods` names `tempo`, and there is no [payment.mpp.tempo]")?;
    let wanted = if is_testnet { TEMPO_TESTNET } else { TEMPO_MAINNET };
    let chain = section.chain.unwrap_or(wanted);
    if chain != wanted {
        bail!(
            "`chain` of [payment.mpp.tempo] is {chain}; beside these `payment.networks` it is {wanted}, so that money that is \
             worth nothing does not buy what money buys"
        );
    }
    let pay_to = section.pay_to.unwrap_or(wallet);
    if pay_to == Address::ZERO || section.contract == Address::ZERO {
        bail!("[payment.mpp.tempo] has the address that is nobody's: what is paid there is lost");
    }
    if pay_to == section.contract {
        bail!("[payment.mpp.tempo] would be paid to the contract of its own token, where money is lost");
    }
    let token = TempoToken { chain, contract: section.contract, pay_to };
    Ok(TempoSettings { rpc: section.rpc.clone(), token })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use execgate_payment::mpp::CredentialHeader;

    use super::Challenges;
    use crate::config::file::File;

    const WALLET: &str = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";
    const TOKEN: &str = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913";

    fn resolve(text: &str, is_testnet: bool) -> Result<Challenges, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        let section = file.payment.and_then(|payment| payment.mpp);
        let challenges = Challenges::resolve(section.as_ref(), WALLET.parse().unwrap(), is_testnet, true);
        challenges.map_err(|error| format!("{error:#}"))
    }

    fn names(challenges: &Challenges) -> Vec<&'static str> {
        challenges.methods.iter().map(super::ChallengeMethod::as_str).collect()
    }

    #[test]
    fn who_says_nothing_asks_for_tokens_of_the_wallet_within_five_minutes() {
        let challenges = resolve("", false).unwrap();
        assert_eq!((names(&challenges), challenges.realm), (vec!["evm"], None));
        assert_eq!((challenges.pay_within_s, challenges.header), (300, CredentialHeader::Authorization));
        let text = "[payment.mpp]\nmethods = []\nrealm = \"api.example.com\"\nchallenge_s = 60\nheader = \"payment-authorization\"\n";
        let challenges = resolve(text, false).unwrap();
        assert_eq!((names(&challenges), challenges.realm.as_deref()), (vec![], Some("api.example.com")));
        assert_eq!(
            (challenges.pay_within_s, challenges.header),
            (60, CredentialHeader::PaymentAuthorization)
        );
    }

    #[test]
    fn a_mistake_names_its_rule() {
        let stripe = "[payment.mpp.stripe]\nkey_file = \"/k\"\nprofile = \"profile_1\"\n";
        let tempo = format!("[payment.mpp.tempo]\nrpc = \"https://rpc\"\ncontract = \"{TOKEN}\"\n");
        for (text, word) in [
            ("[payment.mpp]\nmethods = [\"card\"]\n".to_owned(), "unknown variant"),
            ("[payment.mpp]\nmethods = [\"evm\", \"evm\"]\n".to_owned(), "twice"),
            ("[payment.mpp]\nmethods = [\"stripe\"]\n".to_owned(), "no [payment.mpp.stripe]"),
            ("[payment.mpp]\nmethods = [\"tempo\"]\n".to_owned(), "no [payment.mpp.tempo]"),
            (stripe.to_owned(), "does not name `stripe`"),
            (tempo.clone(), "does not name `tempo`"),
            ("[payment.mpp]\nrealm = \"a|b\"\n".to_owned(), "name of a host"),
            ("[payment.mpp]\nrealm = \"\"\n".to_owned(), "name of a host"),
            ("[payment.mpp]\nchallenge_s = 29\n".to_owned(), "30 to 3600"),
            ("[payment.mpp]\nchallenge_s = 3601\n".to_owned(), "30 to 3600"),
            ("[payment.mpp]\nheader = \"cookie\"\n".to_owned(), "unknown variant"),
            ("[payment.mpp]\nreal = \"x\"\n".to_owned(), "unknown field"),
            (format!("[payment.mpp]\nmethods = [\"tempo\"]\n{tempo}chain = 1\n"), "is 1"),
            (format!("[payment.mpp]\nmethods = [\"tempo\"]\n{tempo}chain = 42431\n"), "4217"),
            (format!("[payment.mpp]\nmethods = [\"tempo\"]\n{tempo}pay_to = \"{TOKEN}\"\n"), "its own token"),
            (
                format!("[payment.mpp]\nmethods = [\"stripe\"]\n{}", stripe.replace("profile_1", "p")),
                "profile_…",
            ),
            (format!("[payment.mpp]\nmethods = [\"stripe\"]\n{stripe}types = [\"cash\"]\n"), "card, link"),
            (format!("[payment.mpp]\nmethods = [\"stripe\"]\n{stripe}types = []\n"), "card, link"),
        ] {
            let error = resolve(&text, false).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn the_address_of_a_node_may_hold_a_key_and_is_told_nowhere() {
        let text = format!(
            "[payment.mpp]\nmethods = [\"tempo\"]\n[payment.mpp.tempo]\nrpc = \"https://n/secret\"\ncontract = \"{TOKEN}\"\n"
        );
        let challenges = resolve(&text, true).unwrap();
        let services: Vec<_> = challenges.methods.iter().map(super::ChallengeMethod::service).collect();
        assert_eq!(services, [Some("a node of eip155:42431".to_owned())]);
        assert!(!format!("{challenges:?}").contains("secret"));
    }

    #[test]
    fn a_key_of_stripe_is_read_at_the_start_fits_the_networks_and_is_told_by_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let text = format!(
            "[payment.mpp]\nmethods = [\"evm\", \"stripe\"]\n[payment.mpp.stripe]\nkey_file = \"{}\"\nprofile = \"profile_1\"\n",
            path.display()
        );
        let mut challenges = resolve(&text, true).unwrap();
        assert_eq!(names(&challenges), ["evm", "stripe"]);
        let mut read = |key: &str, is_testnet| {
            fs::write(&path, key).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            challenges.read_keys(is_testnet).map_err(|error| format!("{error:#}"))
        };
        assert_eq!(read("sk_test_canary1\n", true), Ok(()));
        for (key, is_testnet, word) in [
            ("sk_test_canary1", false, "of test mode"),
            ("rk_live_canary1", true, "live"),
            ("pk_test_canary1", true, "no secret key"),
            ("sk_test_", true, "no secret key"),
            ("sk_test_canary1\nx", true, "no secret key"),
        ] {
            let error = read(key, is_testnet).unwrap_err();
            assert!(error.contains(word) && !error.contains("canary"), "{error}");
        }
        assert!(!format!("{challenges:?}").contains("canary"));
    }
}
