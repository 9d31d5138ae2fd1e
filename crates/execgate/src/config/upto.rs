//! `[payment.upto]`: what is paid by its usage (the scheme `upto` of x402), what that comes to, and whose account settles it.

use std::collections::BTreeMap;

use anyhow::bail;
use execgate_flow::propose::{Meter, Prices};
use execgate_model::{ActionName, Effect, Offer};
use execgate_payment::evm::Address;

use super::file::UptoSection;

/// What is paid by its usage.
#[derive(Debug, Clone)]
pub(crate) struct Upto {
    /// Whose account settles it: it is named in what payers sign, and nobody else can.
    pub(crate) facilitator: Address,
    /// What usage comes to, by the names of actions and offers.
    pub(crate) meters: BTreeMap<String, Meter>,
}

impl Upto {
    /// The section, of a gateway that takes tokens by Permit2 or not.
    pub(super) fn resolve(section: &UptoSection, by_permit2: bool) -> anyhow::Result<Self> {
        if !by_permit2 {
            bail!(
                "[payment.upto] needs a [[payment.token]] with `transfer = \"permit2\"`: usage is paid by Permit2 alone"
            );
        }
        if section.facilitator == Address::ZERO {
            bail!("`payment.upto.facilitator` is the address that is nobody's: nobody could settle");
        }
        if section.meter.is_empty() {
            bail!("[payment.upto] names no meter: [payment.upto.meter] says what is paid by usage");
        }
        for (name, meter) in &section.meter {
            if meter.base.is_zero() && meter.per_second.is_zero() {
                bail!("`payment.upto.meter` has `{name}` come to nothing, however long it takes");
            }
        }
        Ok(Self { facilitator: section.facilitator, meters: section.meter.clone() })
    }

    /// # Errors
    /// Where what is paid by usage has no price, which is the most that it may come to, or begins above it.
    pub(super) fn check(&self, prices: &Prices, actions: &[&str]) -> anyhow::Result<()> {
        for (name, meter) in &self.meters {
            let offer = Offer::ALL.into_iter().find(|offer| offer.as_str() == name);
            if offer.is_some_and(|offer| !prices.is_sold(offer)) {
                bail!(
                    "`payment.upto.meter` names `{name}`, which has no price in [payment.prices], and is not sold"
                );
            }
            // An offer has a price of its own, whatever is run under it.
            let action = offer.and(actions.first().copied()).unwrap_or(name);
            let most = prices.of(&ActionName::new(action)?, Effect::Live, offer);
            if most.is_zero() || meter.base > most {
                let base = meter.base;
                bail!(
                    "`payment.upto.meter` has `{name}` begin at ${base}; its price is the most, and is ${most}"
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use execgate_flow::propose::Prices;
    use execgate_model::{ActionName, Amount, Offer, UnixMs};
    use execgate_payment::Flow;

    use crate::config::Environment;
    use crate::config::file::File;
    use crate::config::payment::Payment;

    const WALLET: &str = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";
    const TOKEN: &str = "[[payment.token]]\nnetwork = \"eip155:84532\"\n\
        contract = \"0x036CbD53842c5426634e7929541eC2318f3dCF7e\"\nname = \"USDC\"\nversion = \"2\"\ndecimals = 6\n";
    const SETTLES: &str = "[payment.upto]\nfacilitator = \"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\"\n[payment.upto.meter]\n";

    fn prices(text: &str) -> Result<Prices, String> {
        let environment = Environment { payment_wallet: Some(WALLET.to_owned()), ..Environment::default() };
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        let payment = Payment::resolve(&environment, file.payment.as_ref());
        let payment = payment.map_err(|error| format!("{error:#}"))?.unwrap();
        payment
            .prices(&["echo", "mine", "python"], &[], &["python"], &["mine"])
            .map_err(|error| format!("{error:#}"))
    }

    fn by_permit2(meters: &str) -> String {
        format!("{TOKEN}transfer = \"permit2\"\n{SETTLES}{meters}")
    }

    #[test]
    fn what_has_a_meter_is_paid_by_its_usage_and_its_price_is_the_most() {
        let text = by_permit2(
            "echo = { base = \"0.002\", per_second = \"0\" }\nmine = { base = \"0\", per_second = \"0.01\" }\n\
             \"code-run\" = { base = \"0\", per_second = \"0.001\" }\n[payment.prices]\nmine = \"0.05\"\n",
        );
        let prices = prices(&text).unwrap();
        let flow = |name: &str, offer| prices.flow(&ActionName::new(name).unwrap(), offer);
        assert_eq!(flow("echo", None), Flow::Metered);
        assert_eq!(flow("mine", None), Flow::Metered, "though it reaches outward: the operator has said so");
        assert_eq!(flow("python", Some(Offer::CodeRun)), Flow::Metered);
        assert_eq!(flow("python", None), Flow::Authorization);
        let meter = prices.meter(&ActionName::new("mine").unwrap(), None).unwrap();
        let due = meter.due(UnixMs(0), UnixMs(1_500), Amount::from_micros(50_000));
        assert_eq!(due, Amount::from_micros(15_000));
    }

    #[test]
    fn a_mistake_names_its_rule() {
        let echo = "echo = { base = \"0.001\", per_second = \"0\" }\n";
        for (text, word) in [
            (format!("{TOKEN}{SETTLES}{echo}"), "by Permit2 alone"),
            (by_permit2(""), "names no meter"),
            (by_permit2("echo = { base = \"0\", per_second = \"0.00\" }\n"), "come to nothing"),
            (
                by_permit2("echo = { base = \"0.02\", per_second = \"0\" }\n"),
                "its price is the most, and is $0.01",
            ),
            (by_permit2("mine = { base = \"0.02\", per_second = \"0\" }\n"), "is $0.00"),
            (by_permit2("ehco = { base = \"0.02\", per_second = \"0\" }\n"), "nothing that is sold here"),
            (by_permit2("\"code/run\" = { base = \"0\", per_second = \"1\" }\n"), "is not sold"),
            (by_permit2("echo = { base = \"0.001\" }\n"), "missing field"),
            (format!("[payment]\nupfront = [\"echo\"]\n{}", by_permit2(echo)), "in one way"),
            (format!("[payment]\nauthorization = [\"echo\"]\n{}", by_permit2(echo)), "in one way"),
            (
                by_permit2(echo)
                    .replace("0x70997970C51812dc3A010C7d01b50e0d17dc79C8", &format!("0x{}", "0".repeat(40))),
                "nobody",
            ),
        ] {
            let error = prices(&text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
