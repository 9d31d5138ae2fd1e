//! What the tests of every back end are made of: runs by number, and the records that they should give.

use std::future::Future;
use std::sync::Arc;

use execgate_model::{ActionName, Amount, Digest, Effect, InstanceId, RunId, Stage, UnixMs};
use execgate_store::{
    Answer, ApprovalClaim, Change, Claim, Finish, Leaf, LeafKind, NewPayment, Record, SettlementWord,
    Settling, Store,
};

/// One empty record, and ways to look at it.
pub(crate) trait Backend {
    /// One more instance over the same record, as a process that starts would be.
    fn open(&self) -> Arc<dyn Store>;

    /// The leaves of a run, in the order of the log.
    fn leaves(&self, run: RunId) -> Vec<Leaf>;
}

/// Runs a test on a runtime of two threads.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(work)
}

/// A digest that `tag` and `number` alone decide.
pub(crate) fn digest(tag: u8, number: u16) -> Digest {
    let mut bytes = [tag; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    Digest::from_bytes(bytes)
}

/// What is said of change `number`.
pub(crate) fn change(number: u16) -> Change {
    let leaf = Leaf { kind: LeafKind::Change, digest: digest(6, number) };
    let statement = format!("{{\"number\":{number}}}").into_bytes();
    Change { statement, salt: [6; 32], leaf, at: UnixMs(u64::from(number)) }
}

/// Run `number`.
pub(crate) fn run_id(number: u16) -> RunId {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    RunId::from_entropy(bytes)
}

/// When run `number` was claimed.
pub(crate) fn created(number: u16) -> UnixMs {
    UnixMs(1_700_000_000_000 + u64::from(number))
}

/// A claim with a nonce of its own, without payment and approval.
pub(crate) fn claim(instance: InstanceId, number: u16) -> Claim {
    Claim {
        run: run_id(number),
        instance,
        nonce_key: Some(digest(1, number)),
        session_nonce: None,
        fingerprint: digest(2, number),
        owner: Some(digest(3, number)),
        action: ActionName::new("python").unwrap(),
        effect: if number.is_multiple_of(2) { Effect::Live } else { Effect::DryRun },
        caller: format!("caller-{number}"),
        rail: "free".to_owned(),
        price: Amount::from_micros(20_000),
        payment: None,
        approval: None,
        limits: Vec::new(),
        salt: [7; 32],
        intent: format!("intent {number}").into_bytes(),
        leaf: Leaf { kind: LeafKind::Intent, digest: digest(4, number) },
        at: created(number),
        tool_call: None,
    }
}

/// Payment `number`.
pub(crate) fn payment(number: u16) -> NewPayment {
    NewPayment {
        key: digest(5, number),
        payer: format!("payer-{number}"),
        state: format!("state {number}").into_bytes(),
        rail: "x402".to_owned(),
        amount: Amount::from_micros(20_000),
        most: None,
        upfront: false,
        funds: None,
        holds_max: 16,
        at: created(number),
        batch: false,
    }
}

/// A movement of the money of payment `number`, which run `number` holds.
pub(crate) fn settling(number: u16, from: SettlementWord, to: SettlementWord) -> Settling {
    Settling {
        run: run_id(number),
        payment: digest(5, number),
        from,
        to,
        reference: None,
        said: None,
        watch_until: None,
        may_go_back: false,
        blameless: false,
        at: UnixMs(created(number).0 + 2_000),
    }
}

/// Approval `number`.
pub(crate) fn approval(number: u16) -> ApprovalClaim {
    let leaf = Leaf { kind: LeafKind::Approval, digest: digest(14, number) };
    let statement = format!("approval {number}").into_bytes();
    ApprovalClaim {
        keys: vec![digest(6, number)],
        change: Change { statement, salt: [9; 32], leaf, at: created(number) },
    }
}

/// The end of run `number`.
pub(crate) fn finish(instance: InstanceId, number: u16, stage: Stage) -> Finish {
    Finish {
        signer: [0; 32],
        run: run_id(number),
        instance,
        stage,
        outcome: "value".to_owned(),
        content: digest(8, number),
        receipt: format!("receipt {number}").into_bytes(),
        answer: Answer {
            status: 200,
            content_type: "application/json".to_owned(),
            body: format!("answer {number}").into_bytes(),
        },
        leaf: Leaf { kind: LeafKind::Final, digest: digest(9, number) },
        charged: true,
        metered: None,
        at: UnixMs(created(number).0 + 1_000),
    }
}

/// The record that a claim gives.
pub(crate) fn held(claim: &Claim) -> Record {
    Record {
        run: claim.run,
        instance: claim.instance,
        fingerprint: claim.fingerprint,
        owner: claim.owner,
        action: claim.action.clone(),
        effect: claim.effect,
        caller: claim.caller.clone(),
        stage: Stage::Execute,
        outcome: None,
        content: None,
        receipt: None,
        answer: None,
        settlement: claim.payment.as_ref().map_or(SettlementWord::Free, |payment| {
            if payment.upfront { SettlementWord::Capturing } else { SettlementWord::Held }
        }),
        settlement_reference: None,
        rail: claim.rail.clone(),
        price: claim.price,
        payment_state: claim.payment.as_ref().map(|payment| payment.state.clone()),
        payment_key: claim.payment.as_ref().map(|payment| payment.key),
        payment_amount: claim.payment.as_ref().map(|payment| payment.amount),
        payment_most: None,
        payer: claim.payment.as_ref().map(|payment| payment.payer.clone()),
        salt: claim.salt,
        intent: claim.intent.clone(),
        resolution: None,
        created: claim.at,
        finished: None,
    }
}

/// The record after a finish.
pub(crate) fn recorded(record: Record, finish: &Finish) -> Record {
    Record {
        stage: finish.stage,
        outcome: Some(finish.outcome.clone()),
        content: Some(finish.content),
        receipt: Some(finish.receipt.clone()),
        answer: Some(finish.answer.clone()),
        finished: Some(finish.at),
        settlement: if finish.charged && record.settlement == SettlementWord::Held {
            SettlementWord::Capturing
        } else {
            record.settlement
        },
        ..record
    }
}
