//! What is sold and by which rails it is paid: prices and rails of the settings, for [`crate::wire`] and for whoever asks.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use execgate_flow::propose::Prices;
use execgate_flow::settle::{Settle, Walking};
use execgate_model::{ActionName, Namespace, NoCrash};
use execgate_payment::evm::ChainId;
use execgate_payment::mpp::{EvmCharge, Method, Mpp, StripeCharge, TempoCharge};
use execgate_payment::x402::{Account, X402};
use execgate_payment::{Facilitator, Rails, Unpaid};
use execgate_sandbox::Network;
use execgate_settler::{Counter, Ledger, Remote, Rpc, Service};
use execgate_store::Store;
use execgate_tool::{Action, Blocked, Registry, Tool, ToolNames, Workers, builtin, code};

use crate::config::{ChallengeMethod, Payment, Settings};
use crate::keys::ChallengeSecrets;
use crate::ports::{SystemClock, SystemEntropy};

/// By which rails callers pay. Nodes of the operator's own are asked here which chain is theirs.
pub(crate) async fn rails(
    settings: &Settings,
    data_dir: &Path,
    clock: &Arc<SystemClock>,
) -> anyhow::Result<Rails> {
    let Some(payment) = &settings.payment else { return Ok(Rails::new(Arc::new(Unpaid::FREE), [])) };
    let facilitator: Arc<dyn Facilitator> = match &payment.settler {
        Some(socket) => Arc::new(Counter::new(socket.clone())),
        None => Arc::new(
            Remote::new(&payment.facilitator, ledgers(payment).await?)
                .context("`payment.facilitator` is wrong")?,
        ),
    };
    let x402 = X402::new(payment.accounts.clone(), Arc::clone(&facilitator), clock.clone());
    let mpp = challenged(payment, data_dir, &facilitator, clock).await?;
    Ok(Rails::new(Arc::new(x402), mpp.into_iter().map(|mpp| Arc::new(mpp) as _)))
}

/// The chains of payments as nodes of the operator's own show them. One that cannot be asked now could not say, either, what
/// became of a payment.
async fn ledgers(payment: &Payment) -> anyhow::Result<Vec<Ledger>> {
    let mut ledgers = Vec::new();
    for (network, address) in payment.nodes.iter() {
        let rpc = Rpc::new(address).with_context(|| format!("`payment.rpc` of {network} is wrong"))?;
        let ledger = Ledger::open(rpc, network).await;
        let ledger = ledger
            .with_context(|| format!("the node that `payment.rpc` names for {network} cannot be used"))?;
        ledgers.push(ledger.final_after(payment.final_after));
    }
    Ok(ledgers)
}

/// The rail of the scheme `Payment`, which takes the same tokens; none where nobody is asked by it.
async fn challenged(
    payment: &Payment,
    data_dir: &Path,
    facilitator: &Arc<dyn Facilitator>,
    clock: &Arc<SystemClock>,
) -> anyhow::Result<Option<Mpp>> {
    let challenges = &payment.challenges;
    if challenges.methods.is_empty() {
        return Ok(None);
    }
    let charge = |account: &Account| {
        let charge = EvmCharge::new(account.token.clone(), account.pay_to, Arc::clone(facilitator));
        Arc::new(charge) as Arc<dyn Method>
    };
    let mut methods: Vec<Arc<dyn Method>> = Vec::new();
    for method in &challenges.methods {
        match method {
            ChallengeMethod::Evm => methods.extend(payment.accounts.iter().map(charge)),
            ChallengeMethod::Stripe(stripe) => {
                let service = Service::new(&stripe.url).context("`url` of [payment.mpp.stripe] is wrong")?;
                methods.push(Arc::new(StripeCharge::new(stripe.account.clone(), Arc::new(service))));
            }
            ChallengeMethod::Tempo(tempo) => {
                // One that cannot be asked now, or is of another chain, could not say what was paid.
                let rpc = Rpc::new(&tempo.rpc).context("`rpc` of [payment.mpp.tempo] is wrong")?;
                Ledger::open(rpc, ChainId::new(tempo.token.chain))
                    .await
                    .context("the node that `rpc` of [payment.mpp.tempo] names cannot be used")?;
                let node = Service::new(&tempo.rpc).context("`rpc` of [payment.mpp.tempo] is wrong")?;
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
    }
}
