//! The case: who takes part, in which order, and what is told of it.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;
use std::vec;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::chain::{Chain, FACILITATOR_KEY};
use super::prompt;
use super::shop::{Desk, Shop};
use crate::bench::command::Plan;
use crate::bench::http::Connection;
use crate::bench::load::Load;
use crate::bench::program::{Program, told_by_node};
use crate::bench::report::Case;
use crate::bench::series::{Paused, Series, rotated};
use crate::packages::X402_EXPRESS;
use crate::setup;

/// Signs payments.
const SIGN: &str = include_str!("../../../peers/x402-express/sign.mjs");

/// The facilitator of x402's makers.
const FACILITATOR: &str = include_str!("../../../../crates/execgate/tests/clients/facilitator.mjs");

/// What is sold.
const PATH: &str = "/api/code-run";

/// What it costs, in units.
const PRICE: u64 = 20_000;

/// Connections at once.
const CONNECTIONS: usize = 4;

/// Payers, who take turns: each may have so many holds open at a time.
const PAYERS: usize = 16;

/// Into how many slices each contender's time is cut.
const SLICES: u32 = 5;

/// Before anything counts, so that caches and pools are warm.
const WARM_UP: Duration = Duration::from_millis(500);

/// Payments that are signed for each second: more than either server sells.
const SIGNED_A_SECOND: u64 = 700;

/// The same where a chain is waited for.
const SIGNED_A_SECOND_ON_CHAIN: u64 = 200;

/// Who takes part.
struct Contender {
    name: &'static str,
    shop: Shop,
    /// Signed payments that were not shown yet.
    payments: vec::IntoIter<String>,
    is_on_chain: bool,
    series: Series,
    /// Time of the server's own process.
    own: Duration,
    /// Calls that were answered, the warm-up's too.
    sold: u64,
}

/// Measures the case.
pub(crate) fn measure(plan: &Plan) -> Result<Case> {
    let packages = setup::tools_dir()?.join(X402_EXPRESS);
    ensure!(
        packages.is_dir(),
        "the server of x402's makers is not installed: `cargo xtask setup` installs it"
    );
    let scratch = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o755))
        .tempdir_in(&plan.scratch)
        .context("failed to make a folder")?;
    let prompt = format!("http://{}", prompt::start()?);
    let chain = Chain::start()?;
    let facilitator = Program::node(FACILITATOR, &packages, &[&chain.url(), FACILITATOR_KEY])?;
    let remote = |url: &str| format!("facilitator = {url:?}");
    let desk = Desk::new(scratch.path());
    let entries = [
        ("@x402/express, prompt", Shop::peer(&packages, &prompt)?, false),
        ("execgate, prompt", Shop::ours(plan, &remote(&prompt))?, false),
        ("@x402/express, facilitator", Shop::peer(&packages, &facilitator.url())?, true),
        ("execgate, facilitator", Shop::ours(plan, &remote(&facilitator.url()))?, true),
        ("execgate, own settler", Shop::ours(plan, &desk.named())?, true),
    ];
    let settler = desk.open(plan, &chain, &entries[4].1)?;
    let mut all = Vec::new();
    for (name, shop, is_on_chain) in entries {
        all.push(Contender::new(name, shop, is_on_chain, plan, &packages, &chain)?);
    }
    let mut notes = Vec::new();
    for contender in &mut all {
        contender.sell_one()?;
        contender.sell(WARM_UP, &mut notes)?;
        (contender.series, contender.own) = (Series::new(contender.name), Duration::ZERO);
    }
    let slices = plan.rounds.unwrap_or(SLICES);
    for round in (0_usize..).take(usize::try_from(slices)?) {
        for at in rotated(all.len(), round) {
            all[at].sell(plan.length / slices, &mut notes)?;
        }
    }
    let told = tell(&all, &chain, notes);
    // Programs first, then servers, all at once: each of those waits for whatever it may have left behind.
    drop((settler, facilitator, chain));
    let (peers, ours): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| matches!(one.shop, Shop::Peer(_)));
    drop(peers);
    ours.iter().try_for_each(|one| one.shop.close())?;
    told
}

impl Contender {
    /// With payments for all of its time.
    fn new(
        name: &'static str,
        shop: Shop,
        is_on_chain: bool,
        plan: &Plan,
        packages: &Path,
        chain: &Chain,
    ) -> Result<Self> {
        let a_second = if is_on_chain { SIGNED_A_SECOND_ON_CHAIN } else { SIGNED_A_SECOND };
        let count = a_second * (plan.length + WARM_UP).as_secs().saturating_add(1);
        let url = format!("http://{}{PATH}", shop.address());
        let (count, payers) = (count.to_string(), PAYERS.to_string());
        let told = told_by_node(SIGN, packages, &[&url, &body(), &count, &payers])?;
        let mut lines = told.lines().map(str::to_owned);
        for payer in lines.by_ref().take(PAYERS) {
            chain.give(&payer)?;
        }
        let payments = lines.collect::<Vec<_>>().into_iter();
        Ok(Self {
            name,
            shop,
            payments,
            is_on_chain,
            series: Series::new(name),
            own: Duration::ZERO,
            sold: 0,
        })
    }

    /// Sells one call, to see that it is what is sold.
    fn sell_one(&mut self) -> Result<()> {
        let mut request = Vec::new();
        paid(&mut request, self.shop.address(), self.payments.next());
        let (status, body) = Connection::open(self.shop.address())?.ask(&request)?;
        let told: Value = serde_json::from_slice(&body).unwrap_or_default();
        ensure!(status == 200 && told["stdout"] == "hi\n", "{} answers {status}: {told}", self.name);
        self.sold += 1;
        Ok(())
    }

    /// Sells for so long.
    fn sell(&mut self, length: Duration, notes: &mut Vec<String>) -> Result<()> {
        let server = self.shop.address();
        let load = Load { server, connections: CONNECTIONS, length };
        let (before, sold_before) = (self.shop.cpu(), self.series.latencies.len());
        let payments = &mut self.payments;
        let refusal = load.run(&mut self.series, &mut |buffer| {
            paid(buffer, server, payments.next());
        })?;
        let after = self.shop.cpu();
        let own = after.0.saturating_sub(before.0);
        self.own += own;
        self.series.add_cpu(own + after.1.saturating_sub(before.1));
        self.sold += u64::try_from(self.series.latencies.len() - sold_before)?;
        if let Some(refusal) = refusal {
            let (head, body) = refusal.split_once("\r\n\r\n").unwrap_or((&refusal, ""));
            let status = head.lines().next().unwrap_or_default();
            notes.push(format!(
                "refused ({}): {status} {}",
                self.name,
                body.lines().next().unwrap_or_default()
            ));
        }
        Ok(())
    }
}

/// A call that shows a payment. Where none is left it is told to pay, and that is counted as refused.
fn paid(buffer: &mut Vec<u8>, server: SocketAddr, payment: Option<String>) {
    let (payment, body) = (payment.unwrap_or_default(), body());
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: {server}\r\ncontent-type: application/json\r\npayment-signature: {payment}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    buffer.extend_from_slice(head.as_bytes());
}

fn body() -> String {
    json!({"code": "print('hi')", "language": "python"}).to_string()
}

fn tell(all: &[Contender], chain: &Chain, notes: Vec<String>) -> Result<Case> {
    let sold: u64 = all.iter().filter(|one| one.is_on_chain).map(|one| one.sold).sum();
    let moved = chain.earned()? / PRICE;
    let unheard = all.iter().filter(|one| one.is_on_chain).map(|one| one.series.refused).sum::<usize>();
    ensure!(
        moved >= sold && moved <= sold + u64::try_from(unheard)?,
        "{sold} calls were sold on the chain, and {moved} transfers have paid for them"
    );
    let own_us = |one: &Contender| {
        let calls = u32::try_from(one.series.latencies.len() + one.series.refused).unwrap_or(u32::MAX).max(1);
        u64::try_from((one.own / calls).as_micros()).unwrap_or(u64::MAX)
    };
    let facts = BTreeMap::from([
        ("sold_on_chain", sold),
        ("transfers_on_chain", moved),
        ("own_cpu_us_peer", own_us(&all[0])),
        ("own_cpu_us_execgate", own_us(&all[1])),
    ]);
    let rows = all.iter().enumerate().map(|(at, one)| {
        let baseline = if one.is_on_chain { 2 } else { 0 };
        one.series.row((at != baseline).then(|| &all[baseline].series), Paused::Never)
    });
    let about =
        format!("POST {PATH} of print('hi'), paid by x402, {CONNECTIONS} connections, signed beforehand");
    Ok(Case { name: "payments", about, rows: rows.collect(), facts, notes })
}
