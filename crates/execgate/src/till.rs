//! What is sold and by which rails it is paid: prices and rails of the settings, for [`crate::wire`] and for whoever asks.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use execgate_flow::propose::Prices;
use execgate_flow::settle::{Round, Settle, Walking};
use execgate_model::{ActionName, Namespace, NoCrash};
use execgate_payment::evm::ChainId;
use execgate_payment::mpp::{EvmCharge, Method, Mpp, StripeCharge, TempoCharge};
use execgate_payment::x402::{Account, Transfer, X402};
use execgate_payment::{Facilitator, Rails, Unpaid, Unreachable};
use execgate_sandbox::Network;
use execgate_settler::{Counter, Ledger, Remote, Rpc, Service, TokenError};
use execgate_store::Store;
use execgate_tool::{Action, Blocked, Registry, Tool, ToolNames, Workers, builtin, code};
use execgate_web::Metrics;

use crate::config::{ChallengeMethod, Payment, Settings, TempoSettings};
use crate::gas::GasGauge;
use crate::keys::ChallengeSecrets;
use crate::ports::{SystemClock, SystemEntropy};
use crate::terminal;

/// What is done about a node of the operator's own that cannot be used now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mute {
    /// Nothing starts without it.
    Refused,
    /// It is told, and nobody is asked in its place: for an operator's command, which is all there is when nodes are down.
    Told,
}

/// By which rails callers pay. Nodes of the operator's own are asked here which chain is theirs.
pub(crate) async fn rails(
    settings: &Settings,
    data_dir: &Path,
    clock: &Arc<SystemClock>,
    mute: Mute,
) -> anyhow::Result<Rails> {
    let Some(payment) = &settings.payment else { return Ok(Rails::new(Arc::new(Unpaid::FREE), [])) };
    let facilitator: Arc<dyn Facilitator> = match &payment.settler {
        Some(socket) => Arc::new(Counter::new(socket.clone())),
        None => Arc::new(
            Remote::new(&payment.facilitator, ledgers(payment, clock, mute).await?)
                .context("`payment.facilitator` is wrong")?,
        ),
    };
    let x402 = X402::new(payment.accounts.clone(), Arc::clone(&facilitator), clock.clone());
    let x402 = x402.metered_by(payment.upto.as_ref().map(|upto| upto.facilitator));
    let mpp = challenged(payment, data_dir, &facilitator, clock, mute).await?;
    Ok(Rails::new(Arc::new(x402), mpp.into_iter().map(|mpp| Arc::new(mpp) as _)))
}

/// The chains of payments as nodes of the operator's own show them. One that cannot be asked now could not say, either, what
/// became of a payment.
async fn ledgers(payment: &Payment, clock: &Arc<SystemClock>, mute: Mute) -> anyhow::Result<Vec<Ledger>> {
    let mut ledgers = Vec::new();
    for (network, address) in payment.nodes.iter() {
        let rpc = Rpc::new(address).with_context(|| format!("`payment.rpc` of {network} is wrong"))?;
        match Ledger::open(rpc, network).await {
            Ok(ledger) => {
                let ledger = ledger.final_after(payment.final_after).timed_by(clock.clone());
                are_as_configured(payment, &ledger, mute).await?;
                ledgers.push(ledger);
            }
            Err(Unreachable(why)) if mute == Mute::Told => {
                terminal::note(format_args!("nobody can be asked about payments on {network}: {why}"));
            }
            Err(error) => return Err(error).context(unusable(network)),
        }
    }
    Ok(ledgers)
}

/// Whether the tokens of a chain are what is configured of them, by their own contracts.
async fn are_as_configured(payment: &Payment, ledger: &Ledger, mute: Mute) -> anyhow::Result<()> {
    let network = ledger.chain();
    for account in payment.accounts.iter().filter(|account| account.token.network == network) {
        match ledger.is_as_configured(&account.token, account.transfer == Transfer::Eip3009).await {
            Ok(()) => {}
            Err(error) if mute == Mute::Told => {
                terminal::note(format_args!("payments on {network}: {error}"))
            }
            Err(TokenError::Unreachable(error)) => return Err(error).context(unusable(network)),
            Err(error) => return Err(error).context("[payment] takes a token that is another than it says"),
        }
    }
    Ok(())
}

fn unusable(network: ChainId) -> String {
    format!("the node that `payment.rpc` names for {network} cannot be used")
}

/// The rail of the scheme `Payment`, which takes the same tokens; none where nobody is asked by it.
async fn challenged(
    payment: &Payment,
    data_dir: &Path,
    facilitator: &Arc<dyn Facilitator>,
    clock: &Arc<SystemClock>,
    mute: Mute,
) -> anyhow::Result<Option<Mpp>> {
    let challenges = &payment.challenges;
    if challenges.methods.is_empty() {
        return Ok(None);
    }
    let charge = |account: &Account| {
        let charge = EvmCharge::new(account.token.clone(), account.pay_to, Arc::clone(facilitator));
        Arc::new(charge) as Arc<dyn Method>
    };
    let by_token = |account: &&Account| account.transfer == Transfer::Eip3009;
    let mut methods: Vec<Arc<dyn Method>> = Vec::new();
    for method in &challenges.methods {
        match method {
            ChallengeMethod::Evm => methods.extend(payment.accounts.iter().filter(by_token).map(charge)),
            ChallengeMethod::Stripe(stripe) => {
                let service = Service::new(&stripe.url).context("`url` of [payment.mpp.stripe] is wrong")?;
                methods.push(Arc::new(StripeCharge::new(stripe.account.clone(), Arc::new(service))));
            }
            ChallengeMethod::Tempo(tempo) => {
                let Some(node) = tempo_node(tempo, mute).await? else { continue };
                methods.push(Arc::new(TempoCharge::new(tempo.token.clone(), Arc::new(node))));
            }
        }
    }
    let secrets = ChallengeSecrets::new(data_dir, Arc::new(SystemEntropy), clock.clone());
    let in_force = secrets.open()?;
    // It ends with the process: a gateway serves as long as it lives.
    tokio::spawn(secrets.keep(Arc::clone(&in_force)));
    let mpp = Mpp::new(methods, challenges.header, in_force, clock.clone()).drawing(Arc::new(SystemEntropy));
    Ok(Some(mpp.with_realm(challenges.realm.clone()).with_pay_within_s(challenges.pay_within_s)))
}

/// The node of the Tempo chain. One that cannot be asked now, or is of another chain, could not say what was paid: none, where
/// that is told and no more.
async fn tempo_node(tempo: &TempoSettings, mute: Mute) -> anyhow::Result<Option<Service>> {
    let wrong = "`rpc` of [payment.mpp.tempo] is wrong";
    let chain = ChainId::new(tempo.token.chain);
    match Ledger::open(Rpc::new(&tempo.rpc).context(wrong)?, chain).await {
        Ok(_) => Service::new(&tempo.rpc).map(Some).context(wrong),
        Err(Unreachable(why)) if mute == Mute::Told => {
            terminal::note(format_args!("nobody can be asked about payments on {chain}: {why}"));
            Ok(None)
        }
        Err(error) => Err(error).context("the node that `rpc` of [payment.mpp.tempo] names cannot be used"),
    }
}

/// What is a tool of `/exec/*`, the operator's own actions among it.
pub(crate) fn tool_names(actions: &[Action]) -> ToolNames {
    let own = actions.iter().filter(|action| action.is_tool()).map(|action| action.name().to_owned());
    ToolNames::default().and(own)
}

/// What is sold under some settings.
pub(crate) struct Sold {
    pub(crate) prices: Prices,
    pub(crate) actions: Vec<ActionName>,
    pub(crate) tools: Vec<ActionName>,
}

/// The same, for whoever only wants to know: without a sandbox, with every language.
pub(crate) fn sold(settings: &Settings) -> anyhow::Result<Sold> {
    let own = settings.actions.load()?;
    let names = tool_names(&own);
    let parts = builtin::Parts { workers: Workers::of_this_program(), client: builtin::HttpClient::new() };
    let tools = builtin::all(&parts);
    let mut actions: Vec<_> = tools.iter().map(|tool| tool.name()).collect();
    actions.extend(own.iter().map(Action::name));
    actions.extend(code::all().iter().map(|language| language.name()));
    // The network of jails, as of a sandbox that is not there.
    let jails = matches!(settings.outward.network, Network::Egress(_));
    let mut outward: Vec<_> =
        tools.iter().filter(|tool| tool.reaches_out()).map(|tool| tool.name()).collect();
    outward.extend(own.iter().filter(|action| action.reaches_out(jails)).map(Action::name));
    outward.extend(code::all().iter().filter(|_| jails).map(|language| language.name()));
    let prices = priced(settings, &actions, &names, &outward)?;
    let named = |name: &&str| ActionName::new(*name);
    Ok(Sold {
        prices,
        tools: actions
            .iter()
            .filter(|name| names.has(name, Namespace::Tools))
            .map(named)
            .collect::<Result<_, _>>()?,
        actions: actions.iter().map(named).collect::<Result<_, _>>()?,
    })
}

/// What is asked for what there is.
pub(crate) fn prices(settings: &Settings, registry: &Registry, names: &ToolNames) -> anyhow::Result<Prices> {
    let actions: Vec<_> = registry.iter().map(Tool::name).collect();
    let outward: Vec<_> = registry.iter().filter(|tool| tool.reaches_out()).map(Tool::name).collect();
    priced(settings, &actions, names, &outward)
}

fn priced(
    settings: &Settings,
    actions: &[&str],
    names: &ToolNames,
    outward: &[&str],
) -> anyhow::Result<Prices> {
    let Some(payment) = &settings.payment else { return Ok(Prices::free()) };
    let languages: Vec<_> = code::all().iter().map(|language| language.name()).collect();
    // A blocked tool is one, too, once an approval has unlocked it.
    let is_tool = |name: &&str| {
        names.has(name, Namespace::Tools)
            || (Blocked::find(name, Namespace::Tools).is_some() && !languages.contains(name))
    };
    let tools: Vec<_> = actions.iter().copied().filter(is_tool).collect();
    payment.prices(actions, &tools, &languages, outward)
}

/// Has the metrics tell what a settler of the operator's own has for gas.
pub(crate) fn tell_of_gas(settings: &Settings, metrics: &Metrics) {
    if let Some(socket) = settings.payment.as_ref().and_then(|payment| payment.settler.clone()) {
        metrics.probe_looking(Arc::new(GasGauge::new(Counter::new(socket))));
    }
}

/// What moves the money.
pub(crate) fn settle(
    rails: &Rails,
    store: &Arc<dyn Store>,
    clock: &Arc<SystemClock>,
    crash: &Arc<NoCrash>,
) -> Settle {
    let (rails, store) = (rails.clone(), Arc::clone(store));
    Settle {
        rails,
        store,
        clock: clock.clone(),
        entropy: Arc::new(SystemEntropy),
        crash: crash.clone(),
        walking: Walking::default(),
        round: Round::default(),
    }
}
