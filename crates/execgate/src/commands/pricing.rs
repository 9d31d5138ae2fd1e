//! `execgate pricing`: what is sold under a configuration, for how much, and to whom the money comes.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use execgate_model::{ActionName, Amount, Effect, Offer};
use execgate_payment::Flow;
use serde_json::{Value, json};

use super::cli::Common;
use crate::announcement::announce_payment;
use crate::config::{Challenges, Environment, Settings};
use crate::{terminal, till};

/// The prices.
#[derive(Debug, Args)]
pub(crate) struct Pricing {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: Common,
}

/// One line of the list.
struct Line {
    route: &'static str,
    what: String,
    price: Amount,
    flow: &'static str,
}

impl Pricing {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let settings = Settings::resolve(&self.common.flags(None, None, false), &Environment::read(), true)?;
        let Some(payment) = &settings.payment else {
            bail!("nobody pays here: PAYMENT_WALLET is not set, and the configuration has no [payment]");
        };
        let lines = lines(&settings)?;
        if self.json {
            let accounts = payment.accounts.iter().map(|account| {
                json!({
                    "network": account.token.network, "asset": account.token.contract,
                    "name": account.token.name, "decimals": account.token.decimals,
                    "transfer": account.transfer.as_str(), "payTo": account.pay_to
                })
            });
            let prices = lines.iter().map(|line| {
                json!({"route": line.route, "what": line.what, "price": line.price, "flow": line.flow})
            });
            terminal::json(&json!({
                "testnet": payment.is_testnet(),
                "facilitator": payment.facilitator,
                "x402": {
                    "versions": [1, 2], "scheme": "exact", "flows": FLOWS.map(Flow::as_str),
                    "upto": payment.upto.as_ref().map(|upto| upto.facilitator)
                },
                "mpp": challenged(&payment.challenges),
                "accounts": accounts.collect::<Vec<Value>>(),
                "prices": prices.collect::<Vec<Value>>(),
            }))?;
            return Ok(ExitCode::SUCCESS);
        }
        announce_payment(payment);
        terminal::line(format_args!(
            "  x402      versions 1 and 2, scheme exact, flows authorization and upfront"
        ));
        terminal::line(format_args!("  mpp       {}", said(&payment.challenges)));
        for Line { route, what, price, flow } in &lines {
            terminal::line(format_args!("{route:<24} {what:<24} ${price:<8} {flow}"));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The flows that payments of x402 have.
const FLOWS: [Flow; 2] = [Flow::Authorization, Flow::Upfront];

/// How callers are asked to pay by challenge; null where they are not.
fn challenged(challenges: &Challenges) -> Value {
    if challenges.methods.is_empty() {
        return Value::Null;
    }
    let methods = challenges.methods.iter().map(|method| {
        let (name, proven) = (method.as_str(), method.is_proven());
        // Nobody can verify the others beforehand: they are taken before the work.
        let flows: &[Flow] = if proven { &FLOWS } else { &[Flow::Upfront] };
        let flows: Vec<_> = flows.iter().map(|flow| flow.as_str()).collect();
        json!({"method": name, "intent": "charge", "flows": flows, "service": method.service(), "proven": proven})
    });
    json!({
        "methods": methods.collect::<Vec<Value>>(),
        "realm": challenges.realm,
        "challenge_s": challenges.pay_within_s,
        "header": challenges.header.as_str(),
    })
}

fn said(challenges: &Challenges) -> String {
    let names: Vec<_> =
        challenges.methods.iter().map(|method| format!("{}/charge", method.as_str())).collect();
    if names.is_empty() {
        return "nobody is asked by challenge".to_owned();
    }
    let realm = challenges.realm.as_deref().unwrap_or("the name of the host");
    let (time, header) = (challenges.pay_within_s, challenges.header.as_str());
    format!("{}; realm {realm}, {time} s, in {header}", names.join(", "))
}

fn lines(settings: &Settings) -> anyhow::Result<Vec<Line>> {
    let sold = till::sold(settings)?;
    let mut lines = Vec::new();
    let python = ActionName::new("python")?;
    for (route, offer) in [
        ("POST /api/code-run", Offer::CodeRun),
        ("POST /api/code-run-pro", Offer::CodeRunPro),
        ("POST /api/code/run", Offer::CodeRunBasic),
    ] {
        if sold.prices.is_sold(offer) {
            let price = sold.prices.of(&python, Effect::Live, Some(offer));
            let flow = sold.prices.flow(&python, Some(offer)).as_str();
            lines.push(Line { route, what: "every language".to_owned(), price, flow });
        }
    }
    for name in &sold.actions {
        let price = sold.prices.of(name, Effect::Live, None);
        let flow = sold.prices.flow(name, None).as_str();
        lines.push(Line { route: "POST /execute", what: name.to_string(), price, flow });
    }
    for name in &sold.tools {
        let flow = sold.prices.flow(name, None).as_str();
        for (effect, word) in [(Effect::DryRun, "dry-run"), (Effect::Live, "live")] {
            let price = sold.prices.of(name, effect, None);
            lines.push(Line { route: "POST /exec/tool", what: format!("{name} ({word})"), price, flow });
        }
    }
    let batch = Line {
        route: "POST /exec/batch",
        what: "at least, or the sum".to_owned(),
        price: sold.prices.least_of_batch(),
        flow: Flow::Upfront.as_str(),
    };
    lines.push(batch);
    lines.push(Line {
        route: "POST /exec/simulate",
        what: "every tool".to_owned(),
        price: Amount::ZERO,
        flow: "free",
    });
    Ok(lines)
}
