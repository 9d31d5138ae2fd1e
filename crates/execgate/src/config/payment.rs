//! How callers pay: to whom, in which token, by which facilitator, and how much for what. Without a wallet nobody pays.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::bail;
use execgate_flow::propose::{Meter, Prices, ToolPrices};
use execgate_model::{ActionName, Amount, Offer};
use execgate_payment::evm::{Address, ChainId, KNOWN_TOKENS, KnownToken, PERMIT2, Token};
use execgate_payment::x402::{Account, Transfer};
use execgate_settler::FINAL_AFTER;

use super::Environment;
use super::file::{PaymentSection, TokenSection, TransferSetting};
use super::mpp::Challenges;
use super::nodes::Nodes;
use super::upto::Upto;

/// The facilitator of main networks where the operator names none: it asks for no account of its own.
const MAINNET_FACILITATOR: &str = "https://facilitator.payai.network";

/// The facilitator of test networks where the operator names none.
const TESTNET_FACILITATOR: &str = "https://x402.org/facilitator";

/// Tokens that are taken at once: each is a member of every 402.
const ACCOUNTS_MAX: usize = 8;

/// The decimals that a token may have: a price is a whole number of millionths.
const DECIMALS: core::ops::RangeInclusive<u8> = 6..=18;

/// What code costs by `/execute`, and under the offer of that name (CONTRACTS 4).
const CODE: Amount = Amount::from_micros(20_000);

/// What `code-run-pro` costs.
const CODE_PRO: Amount = Amount::from_micros(50_000);

/// What `echo` and `add` cost.
const SMALL: Amount = Amount::from_micros(10_000);

/// The actions that cost that.
const SMALL_ACTIONS: [&str; 2] = ["echo", "add"];

/// The names of prices that are of no action: what tools cost simulated and for real, and the least that a batch does.
const TOOL_NAMES: [&str; 3] = ["tool-dry-run", "tool-live", "batch"];

/// How callers pay.
#[derive(Debug, Clone)]
pub(crate) struct Payment {
    /// Where money comes to; the first is what a 402 names in its body.
    pub(crate) accounts: Vec<Account>,
    /// The facilitator, by its URL, or by the socket of a settler.
    pub(crate) facilitator: String,
    /// The socket of a settler of the operator's own, where one is named.
    pub(crate) settler: Option<PathBuf>,
    /// Nodes of the operator's own, that show what a remote facilitator does.
    pub(crate) nodes: Nodes,
    /// Behind how many blocks one is final, where such a node does not say which is.
    pub(crate) final_after: u64,
    /// How callers are asked to pay by challenge.
    pub(crate) challenges: Challenges,
    /// What is paid by its usage, where something is.
    pub(crate) upto: Option<Upto>,
    prices: BTreeMap<String, Amount>,
    upfront: BTreeSet<String>,
    authorization: BTreeSet<String>,
}

impl Payment {
    /// The section, and `PAYMENT_WALLET` above it. None: nobody pays.
    pub(super) fn resolve(
        environment: &Environment,
        section: Option<&PaymentSection>,
    ) -> anyhow::Result<Option<Self>> {
        let from_environment = environment.payment_wallet.as_deref().map(wallet).transpose()?;
        let empty = PaymentSection::default();
        let asked = section.is_some();
        let section = section.unwrap_or(&empty);
        let Some(wallet) = from_environment.or(section.wallet) else {
            if asked {
                bail!("[payment] names no `wallet`, and PAYMENT_WALLET is not set: nobody could be paid");
            }
            return Ok(None);
        };
        let accounts = accounts(section, wallet)?;
        let testnets = accounts.iter().filter(|account| account.token.network.is_testnet()).count();
        if testnets != 0 && testnets != accounts.len() {
            bail!(
                "`payment.networks` and `payment.token` mix test networks with others: money that is worth nothing would buy \
                 what money buys"
            );
        }
        let networks: BTreeSet<_> = accounts.iter().map(|account| account.token.network).collect();
        if let Some(settler) = &section.settler {
            if section.facilitator.is_some() {
                bail!("`payment.settler` and `payment.facilitator` exclude each other: one of them settles");
            }
            if !settler.is_absolute() {
                bail!("`payment.settler` is not the whole path of a settler's socket");
            }
            if section.rpc.is_some() {
                bail!("`payment.rpc` is for a remote facilitator: a settler has a node of its own");
            }
            if networks.len() != 1 {
                bail!("`payment.settler` is of one network, and {} are named", networks.len());
            }
        }
        let by_token = accounts.iter().any(|account| account.transfer == Transfer::Eip3009);
        let by_permit2 = accounts.iter().any(|account| account.transfer == Transfer::Permit2);
        let usual = if testnets == 0 { MAINNET_FACILITATOR } else { TESTNET_FACILITATOR };
        let payment = Self {
            accounts,
            facilitator: match &section.settler {
                Some(settler) => settler.display().to_string(),
                None => section.facilitator.clone().unwrap_or_else(|| usual.to_owned()),
            },
            settler: section.settler.clone(),
            nodes: Nodes::resolve(section.rpc.as_ref(), &networks)?,
            final_after: final_after(section)?,
            challenges: Challenges::resolve(section.mpp.as_ref(), wallet, testnets != 0, by_token)?,
            upto: section.upto.as_ref().map(|upto| Upto::resolve(upto, by_permit2)).transpose()?,
            prices: section.prices.clone(),
            upfront: section.upfront.iter().cloned().collect(),
            authorization: section.authorization.iter().cloned().collect(),
        };
        Ok(Some(payment))
    }

    /// Networks on which nobody but the facilitator can tell what became of a payment.
    pub(crate) fn unseen(&self) -> BTreeSet<ChainId> {
        let networks = self.accounts.iter().map(|account| account.token.network);
        networks.filter(|network| self.settler.is_none() && !self.nodes.has(*network)).collect()
    }

    /// Whether its money is worth nothing.
    pub(crate) fn is_testnet(&self) -> bool {
        self.accounts.iter().all(|account| account.token.network.is_testnet())
    }

    /// Reads what is secret of it, while this process still may.
    ///
    /// # Errors
    /// As [`Challenges::read_keys`].
    pub(crate) fn read_keys(&mut self) -> anyhow::Result<()> {
        let is_testnet = self.is_testnet();
        self.challenges.read_keys(is_testnet)
    }

    /// Whether any of it is moved by Permit2.
    pub(crate) fn is_by_permit2(&self) -> bool {
        self.upto.is_some() || self.accounts.iter().any(|account| account.transfer == Transfer::Permit2)
    }

    /// # Errors
    /// Where real money would come in a way that was never tried with it.
    pub(crate) fn is_proven(&self) -> anyhow::Result<()> {
        if self.is_testnet() {
            return Ok(());
        }
        if let Some(method) = self.challenges.methods.iter().find(|method| !method.is_proven()) {
            bail!(
                "`{}` of [payment.mpp] was tried against doubles of its service alone: this version takes it beside test networks, and \
                 not where money is real",
                method.as_str()
            );
        }
        if self.is_by_permit2() {
            bail!(
                "Permit2 was tried with stand-ins of x402's proxies alone: this version takes `transfer = \"permit2\"` and `upto` on \
                 test networks, and not where money is real"
            );
        }
        Ok(())
    }

    /// What is asked for the actions that there are, the tools among them, and the languages. What reaches outward is paid
    /// before it is done, since it cannot be taken back, unless the operator has said otherwise.
    ///
    /// # Errors
    /// Where a price, or a flow, is of something that is not there.
    pub(crate) fn prices(
        &self,
        actions: &[&str],
        tools: &[&str],
        languages: &[&str],
        outward: &[&str],
    ) -> anyhow::Result<Prices> {
        let meters = self.upto.as_ref().map(|upto| upto.meters.clone()).unwrap_or_default();
        self.names_what_is_sold(actions, &meters)?;
        let of = |name: &str, usual: Amount| self.prices.get(name).copied().unwrap_or(usual);
        let listed = ToolPrices {
            dry_run: of("tool-dry-run", ToolPrices::LISTED.dry_run),
            live: of("tool-live", ToolPrices::LISTED.live),
            batch: of("batch", ToolPrices::LISTED.batch),
        };
        let mut by_action = BTreeMap::new();
        for name in actions {
            let usual = if languages.contains(name) {
                CODE
            } else if SMALL_ACTIONS.contains(name) {
                SMALL
            } else {
                Amount::ZERO
            };
            by_action.insert(ActionName::new(*name)?, of(name, usual));
        }
        let mut by_offer = BTreeMap::from([(Offer::CodeRun, CODE), (Offer::CodeRunPro, CODE_PRO)]);
        for offer in Offer::ALL {
            if let Some(price) = self.prices.get(offer.as_str()) {
                by_offer.insert(offer, *price);
            }
        }
        let tools = tools.iter().map(|name| ActionName::new(*name)).collect::<Result<Vec<_>, _>>()?;
        let own: Vec<_> =
            tools.iter().filter_map(|name| Some((name, *self.prices.get(name.as_str())?))).collect();
        let mut prices =
            Prices::new(by_action).with_offers(by_offer).with_tools(tools.iter().cloned(), listed);
        for (name, price) in own {
            prices = prices.with_price(name.clone(), price);
        }
        // It undercuts the others, so that it is sold by whoever names its price.
        if !self.prices.contains_key(Offer::CodeRunBasic.as_str()) {
            prices = prices.without_offer(Offer::CodeRunBasic);
        }
        if let Some(upto) = &self.upto {
            upto.check(&prices, actions)?;
        }
        let upfront =
            self.paid_before(languages, outward).into_iter().filter(|name| !meters.contains_key(name));
        Ok(prices.with_upfront(upfront.collect()).with_meters(meters))
    }

    /// # Errors
    /// Where a price, a flow, or a meter is of something that is not there, or two of them are of one thing.
    fn names_what_is_sold(&self, actions: &[&str], meters: &BTreeMap<String, Meter>) -> anyhow::Result<()> {
        let offers = Offer::ALL.map(Offer::as_str);
        let known = |name: &str| actions.contains(&name) || offers.contains(&name);
        if let Some(name) =
            self.prices.keys().find(|name| !known(name) && !TOOL_NAMES.contains(&name.as_str()))
        {
            bail!("`payment.prices` has a price for `{name}`, which is nothing that is sold here");
        }
        let metered: BTreeSet<_> = meters.keys().cloned().collect();
        let named =
            [("upfront", &self.upfront), ("authorization", &self.authorization), ("upto.meter", &metered)];
        for (key, names) in named {
            if let Some(name) = names.iter().find(|name| !known(name)) {
                bail!("`payment.{key}` names `{name}`, which is nothing that is sold here");
            }
        }
        for (key, names) in [("upfront", &self.upfront), ("authorization", &self.authorization)] {
            if let Some(name) = names.intersection(&metered).next() {
                bail!("`payment.{key}` and `payment.upto.meter` both name `{name}`: it is paid in one way");
            }
        }
        if let Some(name) = self.upfront.intersection(&self.authorization).next() {
            bail!(
                "`payment.upfront` and `payment.authorization` both name `{name}`: it is paid before or after"
            );
        }
        Ok(())
    }

    /// What is paid before it is done, by name: offers are of the languages.
    fn paid_before(&self, languages: &[&str], outward: &[&str]) -> BTreeSet<String> {
        let offers = Offer::ALL.map(Offer::as_str);
        let offered = offers.iter().filter(|_| languages.iter().any(|language| outward.contains(language)));
        let mut names: BTreeSet<_> = outward.iter().chain(offered).map(|name| (*name).to_owned()).collect();
        names.retain(|name| !self.authorization.contains(name));
        names.extend(self.upfront.iter().cloned());
        names
    }
}

/// The wallet of the environment.
fn wallet(text: &str) -> anyhow::Result<Address> {
    match text.parse() {
        Ok(Address::ZERO) => {
            bail!("PAYMENT_WALLET is the address that is nobody's: what is paid there is lost")
        }
        Ok(address) => Ok(address),
        Err(error) => bail!("PAYMENT_WALLET is no address: {error}"),
    }
}

fn accounts(section: &PaymentSection, wallet: Address) -> anyhow::Result<Vec<Account>> {
    if wallet == Address::ZERO {
        bail!("`payment.wallet` is the address that is nobody's: what is paid there is lost");
    }
    let mut accounts = Vec::new();
    // What names its tokens names all of them.
    let networks = match &section.networks {
        Some(networks) => networks.as_slice(),
        None if section.token.is_empty() => &[ChainId::BASE],
        None => &[],
    };
    for network in networks {
        let Some(token) = KnownToken::find("USDC", *network) else {
            let known: Vec<_> = KNOWN_TOKENS.iter().map(|known| known.network.to_string()).collect();
            bail!(
                "`payment.networks` names {network}, whose USDC is not known here (known: {}); name it by [[payment.token]]",
                known.join(", ")
            );
        };
        accounts.push(Account { token, transfer: Transfer::Eip3009, pay_to: wallet });
    }
    for section in &section.token {
        accounts.push(account(section, wallet)?);
    }
    for (at, account) in accounts.iter().enumerate() {
        let place = |account: &Account| (account.token.network, account.token.contract, account.transfer);
        if accounts[..at].iter().any(|other| place(other) == place(account)) {
            let (token, transfer) = (&account.token, account.transfer.as_str());
            bail!("the token {} on {}, by {transfer}, is named twice", token.contract, token.network);
        }
    }
    if accounts.is_empty() || accounts.len() > ACCOUNTS_MAX {
        bail!(
            "`payment.networks` and [[payment.token]] name {} tokens; 1 to {ACCOUNTS_MAX} can be",
            accounts.len()
        );
    }
    Ok(accounts)
}

/// Behind how many blocks one is final: none would believe each that is seen.
fn final_after(section: &PaymentSection) -> anyhow::Result<u64> {
    match section.final_after {
        None => Ok(FINAL_AFTER),
        Some(_) if section.rpc.is_none() => {
            bail!(
                "`payment.final_after` is for the nodes of `payment.rpc`: a settler is told by --final-after"
            )
        }
        Some(0) => bail!("`payment.final_after` is 0 blocks; 1 or more can be"),
        Some(blocks) => Ok(blocks),
    }
}

fn account(section: &TokenSection, wallet: Address) -> anyhow::Result<Account> {
    let pay_to = section.pay_to.unwrap_or(wallet);
    let what = format!("the token {} of [[payment.token]]", section.contract);
    if pay_to == Address::ZERO || section.contract == Address::ZERO {
        bail!("{what} has the address that is nobody's: what is paid there is lost");
    }
    if section.contract == PERMIT2 {
        bail!("{what} is Permit2, which is no token");
    }
    if pay_to == section.contract {
        bail!("{what} would be paid to its own contract, where money is lost");
    }
    if !DECIMALS.contains(&section.decimals) {
        bail!("{what} has {} decimals; 6 to 18 can be taken", section.decimals);
    }
    if section.name.is_empty() || section.version.is_empty() {
        bail!("{what} has no `name` or `version`: those of its EIP-712 domain are signed by every payer");
    }
    let token = Token {
        network: section.network,
        contract: section.contract,
        name: section.name.clone(),
        version: section.version.clone(),
        decimals: section.decimals,
    };
    let transfer = match section.transfer {
        TransferSetting::Eip3009 => Transfer::Eip3009,
        TransferSetting::Permit2 => Transfer::Permit2,
    };
    Ok(Account { token, transfer, pay_to })
}

#[cfg(test)]
mod tests {
    use execgate_model::{ActionName, Effect, Offer};
    use execgate_payment::Flow;

    use super::{Environment, Payment, Transfer};
    use crate::config::file::File;

    const WALLET: &str = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";

    fn resolve(wallet: Option<&str>, text: &str) -> Result<Option<Payment>, String> {
        let environment = Environment { payment_wallet: wallet.map(str::to_owned), ..Environment::default() };
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        Payment::resolve(&environment, file.payment.as_ref()).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_wallet_alone_is_paid_in_usdc_on_base_by_a_facilitator_that_is_named() {
        let payment = resolve(Some(WALLET), "").unwrap().unwrap();
        let [account] = payment.accounts.as_slice() else { panic!("one account") };
        assert_eq!(
            (account.token.network.to_string().as_str(), account.pay_to.to_string().as_str()),
            ("eip155:8453", WALLET)
        );
        assert!(!payment.is_testnet() && payment.facilitator.starts_with("https://"));
        assert!(payment.is_proven().is_ok());
        assert!(resolve(None, "").unwrap().is_none());
    }

    #[test]
    fn a_mistake_names_its_rule() {
        let wrong = WALLET.replace("F79", "f79");
        for (wallet, text, word) in [
            (Some(wrong.as_str()), "", "EIP-55"),
            (Some("0x0000000000000000000000000000000000000000"), "", "nobody"),
            (Some("wallet"), "", "no address"),
            (None, "[payment]\n", "names no `wallet`"),
            (Some(WALLET), "[payment]\nnetworks = [\"base\"]\n", "CAIP-2"),
            (Some(WALLET), "[payment]\nnetworks = [\"eip155:1\"]\n", "eip155:8453"),
            (Some(WALLET), "[payment]\nnetworks = []\n", "name 0 tokens"),
            (Some(WALLET), "[payment]\nnetworks = [\"eip155:8453\", \"eip155:84532\"]\n", "worth nothing"),
            (Some(WALLET), "[payment]\nnetworks = [\"eip155:8453\", \"eip155:8453\"]\n", "twice"),
            (Some(WALLET), "[payment]\nsettler = \"s.sock\"\n", "whole path"),
            (Some(WALLET), "[payment]\nsettler = \"/s\"\nfacilitator = \"https://f\"\n", "exclude"),
            (Some(WALLET), "[payment]\nsettler = \"/s\"\nrpc = \"https://n\"\n", "node of its own"),
            (Some(WALLET), "[payment.rpc]\n\"eip155:1\" = \"https://n\"\n", "nothing is paid"),
            (Some(WALLET), "[payment]\nrpc = 7\n", "the address of a node"),
            (Some(WALLET), "[payment]\nfinal_after = 10\n", "--final-after"),
            (Some(WALLET), "[payment]\nrpc = \"https://n\"\nfinal_after = 0\n", "1 or more"),
            (
                Some(WALLET),
                "[payment]\nrpc = \"https://n\"\nnetworks = [\"eip155:84532\"]\n[[payment.token]]\nnetwork = \"eip155:80002\"\n\
                 contract = \"0x036CbD53842c5426634e7929541eC2318f3dCF7e\"\nname = \"a\"\nversion = \"2\"\ndecimals = 6\n",
                "several",
            ),
            (Some(WALLET), "[payment]\nwalet = \"\"\n", "unknown field"),
            (Some(WALLET), "[payment.prices]\necho = \"1e3\"\n", "decimal point"),
            (Some(WALLET), "[payment.prices]\necho = 0.01\n", "invalid type"),
        ] {
            let error = resolve(wallet, text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        let payment = resolve(Some(WALLET), "[payment.prices]\nehco = \"0.01\"\n").unwrap().unwrap();
        assert!(payment.prices(&["echo"], &[], &[], &[]).is_err());
    }

    #[test]
    fn a_token_may_be_moved_by_permit2_beside_or_instead() {
        let token = |contract: &str, transfer: &str| {
            format!(
                "[[payment.token]]\nnetwork = \"eip155:84532\"\ncontract = \"{contract}\"\nname = \"USDC\"\n\
                 version = \"2\"\ndecimals = 6\n{transfer}"
            )
        };
        let usdc = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
        let (by_permit2, networks) =
            (token(usdc, "transfer = \"permit2\"\n"), "networks = [\"eip155:84532\"]\n");
        let transfers = |text: &str| {
            let payment = resolve(Some(WALLET), &format!("[payment]\n{text}")).unwrap().unwrap();
            let transfers: Vec<_> = payment.accounts.iter().map(|account| account.transfer).collect();
            assert!(payment.is_proven().is_ok());
            (transfers, payment.challenges.methods.len())
        };
        assert_eq!(transfers(&by_permit2), (vec![Transfer::Permit2], 0), "nobody is asked by challenge then");
        assert_eq!(
            transfers(&format!("{networks}{by_permit2}")),
            (vec![Transfer::Eip3009, Transfer::Permit2], 1)
        );
        assert_eq!(transfers(&token(usdc, "")), (vec![Transfer::Eip3009], 1));
        let main = by_permit2.replace("84532", "8453");
        let real = resolve(Some(WALLET), &format!("[payment]\n{main}")).unwrap().unwrap();
        assert!(real.is_proven().unwrap_err().to_string().contains("where money is real"));
        let permit2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3";
        for (text, word) in [
            (format!("{by_permit2}[payment.mpp]\nmethods = [\"evm\"]\n"), "EIP-3009, which it needs"),
            (format!("{by_permit2}{by_permit2}"), "by permit2, is named twice"),
            (token(permit2, "transfer = \"permit2\"\n"), "is Permit2, which is no token"),
            (token(usdc, "transfer = \"permit3\"\n"), "unknown variant"),
        ] {
            let error = resolve(Some(WALLET), &format!("[payment]\n{text}")).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn what_reaches_outward_is_paid_before_it_is_done_unless_the_operator_says_otherwise() {
        let flow = |text: &str, outward: &[&str], name: &str, offer| {
            let payment = resolve(Some(WALLET), text).unwrap().unwrap();
            let prices = payment.prices(&["http_get", "python"], &["http_get"], &["python"], outward);
            prices.unwrap().flow(&ActionName::new(name).unwrap(), offer)
        };
        let own = "[payment]\nauthorization = [\"http_get\", \"code-run\"]\n";
        for (text, outward, name, offer, expected) in [
            ("", ["http_get"].as_slice(), "http_get", None, Flow::Upfront),
            (own, &["http_get"], "http_get", None, Flow::Authorization),
            ("", &["http_get"], "python", Some(Offer::CodeRun), Flow::Authorization),
            ("", &["python"], "python", None, Flow::Upfront),
            ("", &["python"], "python", Some(Offer::CodeRun), Flow::Upfront),
            (own, &["python"], "python", Some(Offer::CodeRun), Flow::Authorization),
            (own, &["python"], "python", Some(Offer::CodeRunPro), Flow::Upfront),
        ] {
            assert_eq!(flow(text, outward, name, offer), expected, "{text} {name} {offer:?}");
        }
        let both = "[payment]\nauthorization = [\"echo\"]\nupfront = [\"echo\"]\n";
        let payment = resolve(Some(WALLET), both).unwrap().unwrap();
        assert!(payment.prices(&["echo"], &[], &[], &[]).is_err());
        let strange = resolve(Some(WALLET), "[payment]\nauthorization = [\"ehco\"]\n").unwrap().unwrap();
        assert!(strange.prices(&["echo"], &[], &[], &[]).is_err());
    }

    #[test]
    fn nodes_are_told_by_network_and_never_shown() {
        let resolved = |text| resolve(Some(WALLET), text).unwrap().unwrap();
        let unseen = |payment: &Payment| payment.unseen().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(unseen(&resolved("")), ["eip155:8453"]);
        assert_eq!(unseen(&resolved("[payment]\nsettler = \"/s\"\n")), [""; 0]);
        for text in [
            "[payment]\nrpc = \"https://n/secret\"\n",
            "[payment.rpc]\n\"eip155:8453\" = \"https://n/secret\"\n",
        ] {
            let payment = resolved(text);
            assert_eq!(unseen(&payment), [""; 0]);
            let nodes: Vec<_> =
                payment.nodes.iter().map(|(network, url)| (network.to_string(), url)).collect();
            assert_eq!(nodes, [("eip155:8453".to_owned(), "https://n/secret")]);
            assert!(!format!("{payment:?}").contains("secret"));
        }
    }

    #[test]
    fn prices_are_those_of_the_list_where_the_operator_names_no_other() {
        let text = "[payment]\nupfront = [\"code-run-pro\"]\n[payment.prices]\nhttp_get = \"0.07\"\n\"code-run\" = \"0.03\"\n";
        let payment = resolve(Some(WALLET), text).unwrap().unwrap();
        let prices =
            payment.prices(&["echo", "python", "http_get", "mine"], &["http_get"], &["python"], &[]).unwrap();
        let of =
            |name: &str, effect, offer| prices.of(&ActionName::new(name).unwrap(), effect, offer).to_string();
        assert_eq!(of("echo", Effect::Live, None), "0.01");
        assert_eq!(of("python", Effect::Live, None), "0.02");
        assert_eq!(of("python", Effect::Live, Some(Offer::CodeRun)), "0.03");
        assert_eq!(of("python", Effect::Live, Some(Offer::CodeRunPro)), "0.05");
        assert_eq!(
            (of("http_get", Effect::Live, None), of("http_get", Effect::DryRun, None)),
            ("0.07".into(), "0.01".into())
        );
        assert_eq!(
            (of("mine", Effect::Live, None), prices.least_of_batch().to_string()),
            ("0.00".into(), "0.10".into())
        );
        assert!(prices.is_sold(Offer::CodeRun) && !prices.is_sold(Offer::CodeRunBasic));
    }
}
