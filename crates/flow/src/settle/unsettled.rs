//! What money is not settled: for the operator to look at.

use execgate_model::{Amount, Digest, RunId, Stage, UnixMs};
use execgate_store::{OpenPayment, Page, Record, SettlementWord, Store, StoreError};

/// The most of each kind that is shown.
const SHOWN_MAX: u32 = 1_000;

/// How money stands that is not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its capture was asked for, and nobody has heard how it ended.
    Pending,
    /// The same, and its run was taken back: where it was taken, it is owed to its payer, or to the same call.
    Loose,
    /// It is being taken just now.
    Capturing,
    /// It could not be taken: the result of its run waits for another payment.
    Unpaid,
    /// It was taken, and its chain has taken it back for good. What was answered for it stays.
    Reversed,
}

impl Standing {
    /// Its word, for people and programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Loose => "loose",
            Self::Capturing => "capturing",
            Self::Unpaid => "unpaid",
            Self::Reversed => "reversed",
        }
    }
}

/// A payment that is not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsettled {
    /// How it stands.
    pub standing: Standing,
    /// The run.
    pub run: RunId,
    /// What makes the payment unique.
    pub payment: Option<Digest>,
    /// Whose it is, where that is known.
    pub payer: Option<String>,
    /// The rail.
    pub rail: String,
    /// How much.
    pub amount: Amount,
    /// The rail's own name for the movement that may have happened.
    pub reference: Option<String>,
    /// When its run was claimed, or, where that was taken back, when it was held.
    pub since: Option<UnixMs>,
}

/// Every payment that is not settled, or that its chain has taken back for good, oldest first; of what is open the 1,000 oldest, and
/// at most 1,000 of each other kind.
///
/// # Errors
/// If the record cannot be read.
pub async fn unsettled(store: &dyn Store) -> Result<Vec<Unsettled>, StoreError> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.open_payments(after).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.place());
        found.extend(page.into_iter().map(|open| {
            let standing = if open.stage.is_some() { Standing::Pending } else { Standing::Loose };
            of_payment(open, standing)
        }));
        // Their own order is another one: the oldest are kept, and no more than are shown.
        found.sort_by_key(age);
        found.truncate(SHOWN_MAX as usize);
    }
    found.extend(store.reversed().await?.into_iter().map(|open| of_payment(open, Standing::Reversed)));
    for stage in [Stage::Execute, Stage::Witness] {
        let page = Page { before: None, limit: SHOWN_MAX, stage: Some(stage) };
        found.extend(store.list(page).await?.into_iter().filter_map(of_run));
    }
    found.sort_by_key(age);
    Ok(found)
}

fn age(unsettled: &Unsettled) -> u64 {
    unsettled.since.map_or(u64::MAX, |UnixMs(since)| since)
}

fn of_payment(open: OpenPayment, standing: Standing) -> Unsettled {
    Unsettled {
        standing,
        run: open.run,
        payment: Some(open.key),
        payer: Some(open.payer),
        rail: open.rail,
        amount: open.amount,
        reference: open.reference,
        since: open.since,
    }
}

fn of_run(record: Record) -> Option<Unsettled> {
    let standing = match record.settlement {
        SettlementWord::Capturing => Standing::Capturing,
        SettlementWord::Unpaid => Standing::Unpaid,
        // What is pending was listed already.
        SettlementWord::Pending
        | SettlementWord::Held
        | SettlementWord::Free
        | SettlementWord::Captured
        | SettlementWord::Released
        | SettlementWord::Reversed => return None,
    };
    Some(Unsettled {
        standing,
        run: record.run,
        payment: record.payment_key,
        payer: record.payer,
        rail: record.rail,
        amount: record.payment_amount.unwrap_or(record.price),
        reference: record.settlement_reference,
        since: Some(record.created),
    })
}
