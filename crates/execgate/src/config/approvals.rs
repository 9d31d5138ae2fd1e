//! Who may approve, and in which mode: the part of the settings that gives authority.
//!
//! A key that cannot be read, or a person with a key of another's, is an error at start.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, bail};
use execgate_flow::approve::{ApprovalMode, Holder, LASTS_AT_MOST_MS, People, Person};
use execgate_model::{ApproverName, GrantId, TenantId};
use execgate_receipt::VerifyingKey;
use execgate_receipt::approval::{Approver, ClawShield, MAX_FIELD_BYTES, public_key};

use super::environment::Environment;
use super::file::{ApproverSection, File, SubjectSection};

/// Bytes of the name of a person: those of an approver's.
const PERSON_BYTES_MAX: usize = 64;

/// The longest that a statement may last, in hours: 30 days, as long as a rule may wait for one.
const STATEMENT_HOURS_MAX: u64 = 720;

const HOUR_MS: u64 = 60 * 60 * 1_000;

/// What is settled about approvals.
#[derive(Debug, Clone)]
pub(crate) struct Approvals {
    pub(crate) mode: ApprovalMode,
    pub(crate) shield: ClawShield,
    pub(crate) people: People,
    /// For how long a statement may last that is not for one run alone, in milliseconds.
    pub(crate) lasts_at_most_ms: u64,
}

/// The names of the approvers of a configuration file.
pub(crate) fn approver_names(config: &Path) -> anyhow::Result<BTreeSet<String>> {
    let file = File::read(Some(config))?;
    Ok(file.approver.into_iter().map(|approver| approver.name).collect())
}

impl Approvals {
    /// Reads what the environment and the file say.
    pub(super) fn resolve(environment: &Environment, file: &File) -> anyhow::Result<Self> {
        let section = &file.approval;
        let mode = match environment.openexec_mode.as_deref().or(section.mode.as_deref()).unwrap_or("demo") {
            "demo" => ApprovalMode::Demo,
            "clawshield" => ApprovalMode::Strict,
            other => bail!("the mode `{other}` is not known; there are `demo` and `clawshield`"),
        };
        let set = |text: &&str| !text.trim().is_empty();
        let key = environment.clawshield_public_key.as_deref().or(section.clawshield_public_key.as_deref());
        let key = key.filter(set).map(public_key).transpose().context("CLAWSHIELD_PUBLIC_KEY is no key")?;
        let tenant = environment.clawshield_tenant_id.as_deref().or(section.clawshield_tenant.as_deref());
        let tenant = tenant.filter(set).map(str::to_owned);
        if tenant.as_ref().is_some_and(|tenant| tenant.len() > MAX_FIELD_BYTES) {
            bail!("CLAWSHIELD_TENANT_ID is longer than {MAX_FIELD_BYTES} bytes");
        }
        let lasts_at_most_ms = match section.statement_hours {
            None => LASTS_AT_MOST_MS,
            Some(hours @ 1..=STATEMENT_HOURS_MAX) => hours * HOUR_MS,
            Some(_) => bail!("`approval.statement_hours` is a number from 1 to {STATEMENT_HOURS_MAX}"),
        };
        let issuers: BTreeSet<_> = file.identity.issuer.iter().map(|issuer| issuer.issuer.as_str()).collect();
        let person = |section: &ApproverSection| person(section, &issuers);
        let people = file.approver.iter().map(person).collect::<anyhow::Result<Vec<_>>>()?;
        let people = People::new(people).context("the approvers are wrong")?;
        Ok(Self { mode, shield: ClawShield { key, tenant }, people, lasts_at_most_ms })
    }

    /// The names of the approvers.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.people.approvers().list().iter().map(|approver| approver.name.to_string()).collect()
    }

    /// Whether there is anything that an artifact could be verified with.
    pub(crate) fn can_verify(&self) -> bool {
        self.shield.key.is_some() || !self.people.approvers().is_empty()
    }
}

fn person(section: &ApproverSection, issuers: &BTreeSet<&str>) -> anyhow::Result<Person> {
    let wrong = || format!("the approver `{}` is wrong", section.name);
    let name = ApproverName::new(section.name.clone()).with_context(wrong)?;
    let person = section.person.clone().unwrap_or_else(|| section.name.clone());
    if person.trim().is_empty() || person.len() > PERSON_BYTES_MAX {
        bail!("the approver `{name}` has no person: 1 to {PERSON_BYTES_MAX} bytes");
    }
    let tenant = section.tenant.clone().map(TenantId::new).transpose().with_context(wrong)?;
    let keys = section.keys.iter().map(|text| public_key(text)).collect::<Result<Vec<VerifyingKey>, _>>();
    let keys = keys.with_context(|| format!("a key of the approver `{name}` is none"))?;
    let mut asks_as = Vec::new();
    for grant in &section.grants {
        asks_as.push(Holder::Grant(GrantId::new(grant.clone()).with_context(wrong)?));
    }
    for named in &section.subjects {
        asks_as.push(subject(named, issuers).with_context(wrong)?);
    }
    for account in &section.wallets {
        let holder = Holder::wallet(account);
        let what = || format!("the wallet `{account}` is no account: 0x and 40 digits, or as CAIP-10 has it");
        asks_as.push(holder.with_context(what).with_context(wrong)?);
    }
    Ok(Person { approver: Approver { name, person, tenant, keys }, asks_as })
}

/// Whom an authorization server has named. One that is written otherwise than the gateway knows it would never be the caller,
/// and so approve what is their own.
fn subject(named: &SubjectSection, issuers: &BTreeSet<&str>) -> anyhow::Result<Holder> {
    if !issuers.contains(named.issuer.as_str()) {
        bail!("no `[[identity.issuer]]` is called `{}`, letter by letter", named.issuer);
    }
    let is_line = named.subject.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if named.subject.is_empty() || !is_line {
        bail!("the subject of `{}` is no line of printable ASCII", named.issuer);
    }
    Ok(Holder::Subject { issuer: named.issuer.clone(), subject: named.subject.clone() })
}

#[cfg(test)]
mod tests {
    use execgate_flow::approve::ApprovalMode;

    use super::{Approvals, Environment, File};

    /// RFC 8032, section 7.1, TEST 2.
    const KEY: &str = "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=";

    fn read(file: &str) -> anyhow::Result<Approvals> {
        Approvals::resolve(&Environment::default(), &toml::from_str::<File>(file)?)
    }

    fn refused(file: &str) -> String {
        format!("{:#}", read(file).unwrap_err())
    }

    #[test]
    fn without_any_setting_nothing_is_asked_and_nothing_can_be_verified() {
        let none = read("").unwrap();
        assert_eq!((none.mode, none.can_verify()), (ApprovalMode::Demo, false));
    }

    #[test]
    fn the_environment_names_the_mode_and_whose_artifacts_count() {
        let pem = format!("-----BEGIN PUBLIC KEY-----\\nMCowBQYDK2VwAyEA{KEY}\\n-----END PUBLIC KEY-----\\n");
        let environment = Environment {
            openexec_mode: Some("clawshield".to_owned()),
            clawshield_public_key: Some(pem),
            clawshield_tenant_id: Some("tenant-001".to_owned()),
            ..Environment::default()
        };
        let file = toml::from_str("[approval]\nmode = \"demo\"\nclawshield_tenant = \"other\"").unwrap();
        let approvals = Approvals::resolve(&environment, &file).unwrap();
        assert_eq!((approvals.mode, approvals.can_verify()), (ApprovalMode::Strict, true));
        assert_eq!(approvals.shield.tenant.as_deref(), Some("tenant-001"));
    }

    #[test]
    fn approvers_have_a_name_a_person_and_keys_of_their_own() {
        let one = format!("[[approver]]\nname = \"alice\"\nkeys = [\"{KEY}\"]\ngrants = [\"g1\"]\n");
        let alice = read(&one).unwrap();
        assert_eq!(alice.people.approvers().list()[0].person, "alice");
        let twice = one.clone() + &one.replace("alice", "bob");
        assert!(refused(&twice).contains("is there twice"), "{}", refused(&twice));
        for (from, to) in [("alice", "a b"), (KEY, "AAAA"), ("[\"g1\"]", "[\"a b\"]"), ("grants", "grant")] {
            assert!(read(&one.replace(from, to)).is_err(), "{to}");
        }
        let mute = refused("[[approver]]\nname = \"alice\"\nkeys = []");
        assert!(mute.contains("1 to 8 keys"), "{mute}");
    }

    #[test]
    fn as_whom_an_approver_asks_is_checked_at_the_start() {
        let issuer = "[[identity.issuer]]\nissuer = \"https://login.example\"\naudience = \"https://gate.example\"\njwks = \"/keys.json\"\n";
        let one = |more: &str| format!("{issuer}[[approver]]\nname = \"alice\"\nkeys = [\"{KEY}\"]\n{more}");
        let subject = |issuer: &str, name: &str| {
            one(&format!("subjects = [{{ issuer = \"{issuer}\", subject = \"{name}\" }}]"))
        };
        read(&subject("https://login.example", "alice")).unwrap();
        let slash = refused(&subject("https://login.example/", "alice"));
        assert!(slash.contains("letter by letter"), "{slash}");
        assert!(refused(&subject("https://login.example", "")).contains("printable"));
        read(&one("wallets = [\"0x52908400098527886E0F7030069857D2E4169EE7\"]")).unwrap();
        assert!(refused(&one("wallets = [\"alice\"]")).contains("CAIP-10"));
    }

    #[test]
    fn a_statement_lasts_for_a_day_where_nothing_else_is_said() {
        assert_eq!(read("").unwrap().lasts_at_most_ms, 86_400_000);
        assert_eq!(read("[approval]\nstatement_hours = 1").unwrap().lasts_at_most_ms, 3_600_000);
        for hours in [0, 721] {
            assert!(refused(&format!("[approval]\nstatement_hours = {hours}")).contains("1 to 720"));
        }
    }

    #[test]
    fn a_mode_or_key_that_is_none_is_an_error() {
        assert!(refused("[approval]\nmode = \"off\"").contains("`demo` and `clawshield`"));
        assert!(refused("[approval]\nclawshield_public_key = \"x\"").contains("CLAWSHIELD_PUBLIC_KEY"));
    }
}
