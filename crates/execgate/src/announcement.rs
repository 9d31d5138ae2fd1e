//! What a gateway says when it starts: what it serves, to whom, for how much, and what holds a run.

use execgate_flow::approve::ApprovalMode;
use execgate_iam::{KeysPlace, Unreached};
use execgate_payment::evm::ChainId;
use execgate_payment::x402::Transfer;
use execgate_sandbox::{Enforced, Network};
use execgate_tool::spoken;

use crate::commands::serve::Ready;
use crate::config::{Payment, Settings};
use crate::privileges::Account;
use crate::{terminal, wire};

/// The mode in words, and where it lets nothing pass.
fn mode(settings: &Settings) -> &'static str {
    match (settings.approvals.mode, settings.approvals.can_verify()) {
        (ApprovalMode::Demo, _) => "demo (no approval needed)",
        (ApprovalMode::Strict, true) => "clawshield (every run needs an approval)",
        (ApprovalMode::Strict, false) => {
            "clawshield, WITHOUT A KEY: every run is refused until CLAWSHIELD_PUBLIC_KEY or an [[approver]] is set"
        }
    }
}

/// What the start says: who may ask for what, and what holds it.
pub(crate) fn announce(settings: &Settings, ready: &Ready, account: Option<Account>) {
    terminal::line(format_args!(
        "execgate {} listening on http://{}",
        wire::VERSION,
        ready.listeners.address
    ));
    let whom = match (settings.require_grant, settings.is_local()) {
        (true, _) if settings.issuers.is_empty() => "those that have the key of a grant",
        (true, _) => "those that have the key of a grant, or a token",
        (false, true) => "this machine only",
        (false, false) => "everybody who can reach it",
    };
    let charge = if settings.payment.is_some() { "paid" } else { "free" };
    terminal::line(format_args!("  mode      {}, {charge}, for {whom}", mode(settings)));
    if let Some(payment) = &settings.payment {
        announce_payment(payment);
    }
    if let Some((_, address)) = &ready.listeners.admin {
        terminal::line(format_args!("  admin     http://{address}, for keys with a role"));
    }
    if let Some(guard) = &settings.guard {
        let unreached = match guard.unreached {
            Unreached::Refuse => "live runs are refused",
            Unreached::Open => "LIVE RUNS GO ON",
        };
        terminal::line(format_args!("  identity  asks {}; unreached, {unreached}", guard.url));
    }
    announce_others(settings);
    let actions = settings.allowed_actions.as_ref().map_or_else(
        || "every action (no allow-list is set)".to_owned(),
        |list| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    );
    terminal::line(format_args!("  actions   {actions}"));
    if !ready.actions.is_empty() {
        let own: Vec<_> =
            ready.actions.iter().map(|own| format!("{} ({})", own.name(), own.kind())).collect();
        let own = own.join(", ");
        terminal::line(format_args!("  own       {own}"));
    }
    if let Some(policy) = &settings.policy {
        terminal::line(format_args!("  policy    {}", policy.path.display()));
    }
    if ready.profiles.is_some() {
        terminal::line(format_args!("  network   {}", settings.outward.network.name()));
        if let Network::Egress(egress) = &settings.outward.network
            && let Some(rule) = egress.whole_family()
        {
            terminal::line(format_args!(
                "            the rule `{rule}` opens every address of the internet to runs"
            ));
        }
    }
    match &ready.profiles {
        None => terminal::line("  code      off"),
        Some(profiles) => {
            for (name, sandbox) in profiles.iter() {
                let languages: Vec<_> = spoken(sandbox).collect();
                let languages = languages.join(", ");
                terminal::line(format_args!("  code      {name}: {languages}"));
                terminal::line(format_args!("            {}", enforced_line(&sandbox.enforced())));
            }
        }
    }
    announce_upstreams(settings);
    if let Some(account) = account {
        terminal::line(format_args!("  user      {account} (root is dropped)"));
    }
}

/// To whom money comes, and whether it is worth anything.
pub(crate) fn announce_payment(payment: &Payment) {
    let kind =
        if payment.is_testnet() { "TESTNET: this money is worth nothing" } else { "MAINNET: real money" };
    for account in &payment.accounts {
        let network = account.token.network;
        terminal::line(format_args!(
            "  payment   {} on {} ({network}) to {}{}",
            account.token.name,
            network.display_name().unwrap_or("a network that is not known here"),
            account.pay_to,
            if account.transfer == Transfer::Permit2 { ", by Permit2" } else { "" }
        ));
    }
    terminal::line(format_args!("            {kind}; settled by {}", payment.facilitator));
    if payment.is_by_permit2() {
        terminal::line(format_args!(
            "            UNPROVEN: x402's proxies before Permit2 were never tried as they are deployed, only stand-ins of them"
        ));
    }
    if let Some(upto) = &payment.upto {
        let names: Vec<_> = upto.meters.keys().map(String::as_str).collect();
        let (names, account) = (names.join(", "), upto.facilitator);
        terminal::line(format_args!(
            "            by usage: {names}; the account that settles it is {account}"
        ));
    }
    for network in payment.unseen() {
        terminal::line(format_args!("            {}", unseen(network)));
    }
    for method in payment.challenges.methods.iter().filter(|method| !method.is_proven()) {
        terminal::line(format_args!(
            "            UNPROVEN: `{}` was never tried against {}, only against doubles of it",
            method.as_str(),
            method.service().unwrap_or_default()
        ));
    }
}

/// What nobody here sees of a network without a node of the operator's own.
pub(crate) fn unseen(network: ChainId) -> String {
    format!(
        "NOT SEEN on {network}: whether the chain takes back what was paid (a reorganisation), and the end of what is pending; \
         `payment.rpc` names a node of your own that shows both, else `execgate settle` ends by hand what is pending"
    )
}

/// Whose word is taken beside this gateway's own.
fn announce_others(settings: &Settings) {
    for witness in &settings.witnesses {
        terminal::line(format_args!("  witness   {}, at {}", witness.key.name(), witness.url.host()));
    }
    for issuer in &settings.issuers {
        let keys = match &issuer.keys {
            KeysPlace::Url(url) => url.to_string(),
            KeysPlace::File(path) => path.display().to_string(),
        };
        terminal::line(format_args!(
            "  tokens    of {}, for {}, keys {keys}",
            issuer.issuer, issuer.audience
        ));
    }
}

/// What holds the servers of others.
fn announce_upstreams(settings: &Settings) {
    // What is wrong with one was told before it came to this.
    for (name, words) in settings.upstreams_in_words().unwrap_or_default() {
        terminal::line(format_args!("  upstream  {name}: {words}"));
    }
}

/// What holds a run, in one line.
fn enforced_line(enforced: &Enforced) -> String {
    format!(
        "tier {}, cgroup {}, {} system calls allowed, Landlock {}, image {:.12}",
        enforced.tier, enforced.cgroup, enforced.seccomp_rules, enforced.landlock_abi, enforced.image
    )
}
