//! Who may approve, and in which mode: the part of the settings that gives authority.
//!
//! A key that cannot be read, or a person with a key of another's, is an error at start.

use anyhow::{Context as _, bail};
use execgate_flow::approve::{ApprovalMode, Holder, People, Person};
use execgate_model::{ApproverName, GrantId, TenantId};
use execgate_receipt::VerifyingKey;
use execgate_receipt::approval::{Approver, ClawShield, MAX_FIELD_BYTES, public_key};

use super::environment::Environment;
use super::file::{ApproverSection, File, SubjectSection};

/// Bytes of the name of a person: those of an approver's.
const PERSON_BYTES_MAX: usize = 64;

/// What is settled about approvals.
#[derive(Debug, Clone)]
pub(crate) struct Approvals {
    pub(crate) mode: ApprovalMode,
    pub(crate) shield: ClawShield,
    pub(crate) people: People,
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
        let people = file.approver.iter().map(person).collect::<anyhow::Result<Vec<_>>>()?;
        let people = People::new(people).context("the approvers are wrong")?;
        Ok(Self { mode, shield: ClawShield { key, tenant }, people })
    }

    /// Whether there is anything that an artifact could be verified with.
    pub(crate) fn can_verify(&self) -> bool {
        self.shield.key.is_some() || !self.people.approvers().is_empty()
    }
}

fn person(section: &ApproverSection) -> anyhow::Result<Person> {
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
    let subject = |named: &SubjectSection| Holder::Subject {
        issuer: named.issuer.clone(),
        subject: named.subject.clone(),
    };
    asks_as.extend(section.subjects.iter().map(subject));
    asks_as.extend(section.wallets.iter().cloned().map(Holder::Wallet));
    Ok(Person { approver: Approver { name, person, tenant, keys }, asks_as })
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
    fn a_mode_or_key_that_is_none_is_an_error() {
        assert!(refused("[approval]\nmode = \"off\"").contains("`demo` and `clawshield`"));
        assert!(refused("[approval]\nclawshield_public_key = \"x\"").contains("CLAWSHIELD_PUBLIC_KEY"));
    }
}
