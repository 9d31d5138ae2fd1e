//! Who may approve, as the operator's configuration says, and which callers they are themselves.

use std::collections::BTreeMap;

use execgate_model::{Caller, GrantId, Identity};
use execgate_receipt::approval::{Approver, Approvers, ApproversError};

/// A caller that is the same person as an approver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// Whoever holds the key of a grant.
    Grant(GrantId),
    /// Whom an authorization server has named.
    Subject {
        /// The server.
        issuer: String,
        /// The name.
        subject: String,
    },
    /// Whoever holds the key of a wallet: see [`Self::wallet`].
    Wallet(String),
}

impl Holder {
    /// Whoever holds the key of an account: an address of an EVM chain, alone or as CAIP-10 has it, or an account of another
    /// chain as CAIP-10 has it. One key is the same address on all EVM chains, and so is its holder.
    #[must_use]
    pub fn wallet(account: &str) -> Option<Self> {
        evm_address(account).or_else(|| is_account(account).then(|| account.to_owned())).map(Self::Wallet)
    }

    fn is(&self, caller: &Caller) -> bool {
        match (self, &caller.identity) {
            (Self::Grant(own), Identity::Grant { id, .. }) => own == id,
            (Self::Subject { issuer, subject }, Identity::Subject { issuer: by, subject: name, .. }) => {
                issuer == by && subject == name
            }
            (Self::Wallet(own), Identity::Wallet { account }) => {
                evm_address(account).as_deref().unwrap_or(account) == own
            }
            (Self::Grant(_) | Self::Subject { .. } | Self::Wallet(_), _) => false,
        }
    }
}

/// The address of an account of an EVM chain, in small letters.
fn evm_address(account: &str) -> Option<String> {
    let address = match account.rsplit_once(':') {
        None => account,
        Some((chain, address)) => {
            let number = chain.strip_prefix("eip155:")?;
            let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then_some(address)?
        }
    };
    let digits = address.strip_prefix("0x")?;
    let is_address = digits.len() == 40 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_address.then(|| address.to_ascii_lowercase())
}

/// Whether a text is an account as CAIP-10 has it, of a chain other than those of EVM.
fn is_account(text: &str) -> bool {
    let fits = |part: &str, max: usize, more: &str| {
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || more.as_bytes().contains(&byte);
        !part.is_empty() && part.len() <= max && part.bytes().all(is_good)
    };
    let mut parts = text.split(':');
    let (space, chain, address) = (parts.next(), parts.next(), parts.next());
    parts.next().is_none()
        && space.is_some_and(|space| space != "eip155" && fits(space, 8, "-"))
        && chain.is_some_and(|chain| fits(chain, 32, "-_"))
        && address.is_some_and(|address| fits(address, 128, "-.%"))
}

/// An approver, and what else that person is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Whose signatures count.
    pub approver: Approver,
    /// As whom the same person asks for runs.
    pub asks_as: Vec<Holder>,
}

/// Everybody who may approve.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct People {
    approvers: Approvers,
    /// By person, since a person may have several names and nobody approves what is their own under any of them.
    asks_as: BTreeMap<String, Vec<Holder>>,
}

impl People {
    /// Checks a list.
    ///
    /// # Errors
    /// [`ApproversError`] names the approver.
    pub fn new(people: impl IntoIterator<Item = Person>) -> Result<Self, ApproversError> {
        let mut asks_as: BTreeMap<String, Vec<Holder>> = BTreeMap::new();
        let mut approvers = Vec::new();
        for person in people {
            asks_as.entry(person.approver.person.clone()).or_default().extend(person.asks_as);
            approvers.push(person.approver);
        }
        Ok(Self { approvers: Approvers::new(approvers)?, asks_as })
    }

    /// The approvers and their keys.
    #[must_use]
    pub fn approvers(&self) -> &Approvers {
        &self.approvers
    }

    /// The grants by which they ask for runs.
    pub fn grants(&self) -> impl Iterator<Item = &GrantId> {
        self.asks_as.values().flatten().filter_map(|holder| match holder {
            Holder::Grant(id) => Some(id),
            Holder::Subject { .. } | Holder::Wallet(_) => None,
        })
    }

    /// Whether an approver is the caller.
    #[must_use]
    pub fn is_caller(&self, approver: &Approver, caller: &Caller) -> bool {
        self.asks_as.get(&approver.person).is_some_and(|own| own.iter().any(|holder| holder.is(caller)))
    }
}

#[cfg(test)]
mod tests {
    use execgate_model::{Caller, Identity, TenantId};

    use super::Holder;

    const SMALL: &str = "0x52908400098527886e0f7030069857d2e4169ee7";
    const LARGE: &str = "0x52908400098527886E0F7030069857D2E4169EE7";

    #[test]
    fn a_wallet_is_the_same_person_however_its_account_is_written_and_on_every_chain() {
        let solana = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:7S3P4HxJpyyigGzodYwHtCxZyUQe9JiBMHyRWXArAaKv";
        let is = |own: &str, account: &str| {
            let identity = Identity::Wallet { account: account.to_owned() };
            let caller = Caller { tenant: TenantId::new("t").unwrap(), identity };
            Holder::wallet(own).unwrap().is(&caller)
        };
        for own in [SMALL, LARGE, &format!("eip155:1:{LARGE}"), &format!("eip155:8453:{SMALL}")] {
            for account in [SMALL, &format!("eip155:8453:{SMALL}"), &format!("eip155:84532:{LARGE}")] {
                assert!(is(own, account), "{own} {account}");
            }
            assert!(!is(own, &SMALL.replace("0x5", "0x6")) && !is(own, solana));
        }
        assert!(is(solana, solana) && !is(solana, &solana.to_ascii_lowercase()));
    }

    #[test]
    fn what_is_no_account_is_none() {
        for text in [
            "",
            "alice",
            "0x52",
            "eip155:x:0x52",
            &format!("eip155:{SMALL}"),
            &format!("eip155:1:{SMALL}0"),
            "a:b",
            "a:b:c:d",
            "a b:c:d",
        ] {
            assert_eq!(Holder::wallet(text), None, "{text}");
        }
    }
}
