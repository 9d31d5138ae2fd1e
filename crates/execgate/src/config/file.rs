//! The configuration file: TOML, every field optional, an unknown field is an error.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use execgate_flow::propose::Meter;
use execgate_model::Amount;
use execgate_payment::evm::{Address, ChainId};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::nodes::RpcSection;

/// The embedded, commented default file: the manual of the configuration.
pub(crate) const DEFAULT: &str = include_str!("default.toml");

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Switch {
    On,
    Off,
}

/// The tier that the operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TierSetting {
    /// The strongest that the host has, where that is allowed; else `jail`.
    Auto,
    /// Every layer.
    Jail,
    /// Without cgroups: resource limits and a watchdog.
    JailNoCgroup,
    /// Every guest is the operator's own uid.
    JailSingleUid,
}

/// The network of runs of code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NetworkSetting {
    /// Nothing.
    None,
    /// A loopback of the run's own.
    Loopback,
    /// The same, and a proxy that dials what is allowed.
    Egress,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    pub(crate) server: Server,
    pub(crate) admin: AdminSection,
    pub(crate) record: RecordSection,
    pub(crate) identity: IdentitySection,
    pub(crate) policy: PolicySection,
    pub(crate) audit: AuditSection,
    pub(crate) approval: ApprovalSection,
    pub(crate) approver: Vec<ApproverSection>,
    pub(crate) webhook: Option<WebhookSection>,
    pub(crate) sql_write: Option<SqlSection>,
    pub(crate) surfaces: Surfaces,
    pub(crate) payment: Option<PaymentSection>,
    pub(crate) sandbox: SandboxSection,
    pub(crate) profiles: BTreeMap<String, ProfileSection>,
    pub(crate) action: Vec<ActionSection>,
    pub(crate) upstream: Vec<UpstreamSection>,
    pub(crate) witness: Vec<WitnessSection>,
    pub(crate) secrets: BTreeMap<String, SecretSection>,
    pub(crate) log: Log,
    pub(crate) transparency: TransparencySection,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Server {
    pub(crate) listen: Option<String>,
    pub(crate) free: Option<bool>,
    pub(crate) hosts: Vec<String>,
    pub(crate) public_url: Option<String>,
    pub(crate) connections: Option<usize>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AdminSection {
    pub(crate) listen: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RecordSection {
    pub(crate) database: Option<String>,
    pub(crate) keep_answers_days: Option<u32>,
    pub(crate) keep_answers_mib: Option<u32>,
    pub(crate) min_free_mib: Option<u32>,
}

/// What an identity service that cannot be reached means for what is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum UnreachableSetting {
    /// It is refused.
    #[default]
    Refuse,
    /// It goes on, and its receipt says so.
    Open,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct IdentitySection {
    pub(crate) tenant: Option<String>,
    pub(crate) require_grant: Option<bool>,
    pub(crate) guard_url: Option<String>,
    pub(crate) guard_unreachable: Option<UnreachableSetting>,
    pub(crate) issuer: Vec<IssuerSection>,
}

/// An authorization server whose tokens are taken.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IssuerSection {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) jwks: String,
    pub(crate) algorithms: Option<Vec<String>>,
    pub(crate) tenant: Option<String>,
    pub(crate) tenant_claim: Option<String>,
    #[serde(default)]
    pub(crate) tenants: Vec<String>,
    pub(crate) roles_claim: Option<String>,
    #[serde(default)]
    pub(crate) roles: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) leeway_seconds: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PolicySection {
    pub(crate) file: Option<String>,
    pub(crate) allowed_actions: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AuditSection {
    pub(crate) keep_days: Option<u32>,
    pub(crate) keep_lines: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ApprovalSection {
    pub(crate) mode: Option<String>,
    pub(crate) clawshield_public_key: Option<String>,
    pub(crate) clawshield_tenant: Option<String>,
    pub(crate) statement_hours: Option<u64>,
}

/// Somebody who may approve.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApproverSection {
    pub(crate) name: String,
    pub(crate) person: Option<String>,
    pub(crate) tenant: Option<String>,
    pub(crate) keys: Vec<String>,
    /// As whom the same person asks for runs.
    #[serde(default)]
    pub(crate) grants: Vec<String>,
    #[serde(default)]
    pub(crate) subjects: Vec<SubjectSection>,
    #[serde(default)]
    pub(crate) wallets: Vec<String>,
}

/// Whom an authorization server has named.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubjectSection {
    pub(crate) issuer: String,
    pub(crate) subject: String,
}

/// Who is told of runs that wait for an approval.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookSection {
    pub(crate) url: String,
    pub(crate) secret: String,
    pub(crate) allow_private: Option<bool>,
}

/// The database that `sql_write` writes to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SqlSection {
    pub(crate) dsn: String,
    pub(crate) ca_file: Option<String>,
}

/// How callers pay.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PaymentSection {
    pub(crate) wallet: Option<Address>,
    pub(crate) networks: Option<Vec<ChainId>>,
    pub(crate) facilitator: Option<String>,
    pub(crate) settler: Option<PathBuf>,
    pub(crate) rpc: Option<RpcSection>,
    pub(crate) final_after: Option<u64>,
    pub(crate) upfront: Vec<String>,
    pub(crate) authorization: Vec<String>,
    pub(crate) prices: BTreeMap<String, Amount>,
    pub(crate) token: Vec<TokenSection>,
    pub(crate) upto: Option<UptoSection>,
    pub(crate) mpp: Option<MppSection>,
}

/// A method of the scheme `Payment`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MethodSetting {
    Evm,
    Stripe,
    Tempo,
}

/// In which header a credential of the scheme `Payment` is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CredentialSetting {
    #[default]
    Authorization,
    PaymentAuthorization,
}

/// How callers are asked to pay by challenge.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MppSection {
    pub(crate) methods: Option<Vec<MethodSetting>>,
    pub(crate) realm: Option<String>,
    pub(crate) challenge_s: Option<u64>,
    pub(crate) header: Option<CredentialSetting>,
    pub(crate) stripe: Option<StripeSection>,
    pub(crate) tempo: Option<TempoSection>,
}

/// An account at Stripe.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StripeSection {
    pub(crate) key_file: PathBuf,
    pub(crate) profile: String,
    pub(crate) types: Option<Vec<String>>,
    pub(crate) url: Option<String>,
}

/// An account on the Tempo chain.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TempoSection {
    pub(crate) rpc: String,
    pub(crate) chain: Option<u64>,
    pub(crate) contract: Address,
    pub(crate) pay_to: Option<Address>,
}

/// A token that is not known by itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenSection {
    pub(crate) network: ChainId,
    pub(crate) contract: Address,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) decimals: u8,
    #[serde(default)]
    pub(crate) transfer: TransferSetting,
    pub(crate) pay_to: Option<Address>,
}

/// What is paid by usage.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UptoSection {
    pub(crate) facilitator: Address,
    pub(crate) meter: BTreeMap<String, Meter>,
}

/// By what a token is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TransferSetting {
    #[default]
    Eip3009,
    Permit2,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Surfaces {
    pub(crate) simulate_per_minute: Option<u32>,
    pub(crate) simulate_per_minute_local: Option<u32>,
    pub(crate) code: Option<Switch>,
    pub(crate) tools: Option<Switch>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SandboxSection {
    pub(crate) tier: Option<TierSetting>,
    pub(crate) slots: Option<usize>,
    pub(crate) residents: Option<usize>,
    pub(crate) image: Option<String>,
    pub(crate) image_cache: Option<String>,
    pub(crate) network: Option<NetworkSetting>,
    pub(crate) egress: Option<EgressSection>,
}

/// What runs of code reach, where their network is `egress`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EgressSection {
    pub(crate) domains: Vec<String>,
    pub(crate) cidrs: Vec<String>,
    pub(crate) ports: Option<Vec<u16>>,
    pub(crate) allow_private: Option<bool>,
    pub(crate) denied_cidrs: Vec<String>,
    pub(crate) bytes_up: Option<u64>,
    pub(crate) bytes_down: Option<u64>,
    pub(crate) connections: Option<u32>,
    pub(crate) connections_total: Option<u32>,
    pub(crate) dial_seconds: Option<u64>,
    pub(crate) idle_seconds: Option<u64>,
    pub(crate) name_servers: Vec<IpAddr>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProfileSection {
    pub(crate) image: String,
    pub(crate) slots: Option<usize>,
}

/// What an action does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ActionKind {
    Http,
    Command,
}

/// Whether an action changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EffectSetting {
    Read,
    Write,
}

/// An action of the operator's, with the fields of every kind; those of another kind are refused later, by name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActionSection {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) kind: ActionKind,
    pub(crate) effect: EffectSetting,
    pub(crate) schema: Option<Value>,
    pub(crate) timeout_s: Option<f64>,
    pub(crate) tool: Option<bool>,
    pub(crate) method: Option<String>,
    pub(crate) url: Option<String>,
    pub(crate) query: Option<Map<String, Value>>,
    pub(crate) headers: Option<Map<String, Value>>,
    pub(crate) body: Option<Value>,
    pub(crate) allow_private: Option<bool>,
    pub(crate) max_bytes: Option<usize>,
    pub(crate) argv: Option<Vec<String>>,
    pub(crate) profile: Option<String>,
    /// What cannot be had, so that whoever asks for it is told why.
    pub(crate) env: Option<Value>,
    pub(crate) price: Option<Value>,
    pub(crate) risk: Option<Value>,
}

/// How a server at a URL is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TransportSetting {
    /// Streamable HTTP.
    Http,
    /// The older transport, with a stream of events.
    Sse,
}

/// What becomes of a server of which nothing was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FirstSetting {
    /// What it offers then is accepted.
    Accept,
    /// It waits for the operator.
    Wait,
}

/// A header that is sent to a server: a secret, and what stands before it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeaderSection {
    pub(crate) secret: String,
    pub(crate) prefix: Option<String>,
}

/// How a client says who it is where tokens are had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClientAuthSetting {
    /// In the header `Authorization`.
    Basic,
    /// In the body.
    Post,
}

/// How tokens for a server are had; secrets are named.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OauthSection {
    pub(crate) client_id: String,
    pub(crate) client_secret: Option<String>,
    pub(crate) refresh_token: Option<String>,
    pub(crate) token_url: Option<String>,
    pub(crate) issuer: Option<String>,
    pub(crate) scope: Option<String>,
    pub(crate) auth: Option<ClientAuthSetting>,
}

/// A server of others, with the fields of every kind; those of another kind are refused later, by name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpstreamSection {
    pub(crate) name: String,
    pub(crate) command: Option<Vec<String>>,
    pub(crate) sandbox: Option<bool>,
    pub(crate) shareable: Option<bool>,
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) secrets: BTreeMap<String, String>,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) memory_mib: Option<u64>,
    pub(crate) network: Option<NetworkSetting>,
    pub(crate) egress: Option<EgressSection>,
    pub(crate) processes: Option<usize>,
    pub(crate) idle_s: Option<u64>,
    pub(crate) url: Option<String>,
    pub(crate) transport: Option<TransportSetting>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, HeaderSection>,
    pub(crate) oauth: Option<OauthSection>,
    pub(crate) allow_private: Option<bool>,
    pub(crate) first: Option<FirstSetting>,
    pub(crate) timeout_s: Option<u64>,
    /// What it may ask of the clients that call it: `sampling`, `elicitation`, `roots`.
    #[serde(default)]
    pub(crate) allow: Vec<String>,
    /// A folder of this host of which each process in the jail has a copy.
    pub(crate) workspace: Option<PathBuf>,
    /// Whether a folder of each caller's lives on from one process in the jail to the next.
    pub(crate) keeps: Option<bool>,
}

/// Where a secret is read from: a file, or a variable.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretSection {
    pub(crate) file: Option<PathBuf>,
    pub(crate) env: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    pub(crate) file: Option<String>,
    pub(crate) level: Option<String>,
    pub(crate) format: Option<LogFormat>,
}

/// One witness of the log.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WitnessSection {
    pub(crate) url: String,
    pub(crate) vkey: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TransparencySection {
    pub(crate) origin: Option<String>,
    pub(crate) checkpoint_file: Option<String>,
    pub(crate) witnesses_required: Option<usize>,
}

/// The form of the lines of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object for each line.
    Json,
}

impl File {
    /// Reads a configuration file; none at all is an empty one.
    pub(crate) fn read(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = fs::read_to_string(path)
            .with_context(|| format!("failed to read the configuration {}", path.display()))?;
        // The library quotes the line, and its words the value: either may be a secret.
        toml::from_str(&text).map_err(|error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let (path, line) = (path.display(), before.lines().count().max(1));
            anyhow::anyhow!(
                "the configuration {path} is wrong at line {line}: {}",
                without_values(error.message())
            )
        })
    }
}

/// A message without what it quotes as a text.
fn without_values(message: &str) -> String {
    match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last => {
            format!("{}…{}", &message[..first], &message[last + 1..])
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT, File, Switch, TierSetting};

    #[test]
    fn the_embedded_manual_is_a_configuration() {
        let file: File = toml::from_str(DEFAULT).unwrap();
        assert_eq!(file.server.listen.as_deref(), Some("127.0.0.1:5091"));
        assert_eq!((file.surfaces.code, file.sandbox.tier), (Some(Switch::On), Some(TierSetting::Auto)));
        assert_eq!(file.surfaces.tools, Some(Switch::On));
    }

    #[test]
    fn an_unknown_field_is_an_error_that_names_it() {
        let error = toml::from_str::<File>("[server]\nlisen = \"x\"\n").unwrap_err();
        assert!(error.to_string().contains("unknown field `lisen`"), "{error}");
    }
}
