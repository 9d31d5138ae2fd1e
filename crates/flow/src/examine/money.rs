//! Money: payments against their runs, and what the log says of each against both.

use execgate_model::{Amount, Digest, RunId};
use execgate_store::{ExaminedLeaf, ExaminedPayment, SettlementWord};
use serde::Deserialize;

/// How a payment ended that was taken.
const CAPTURED: &str = "captured";

/// How one ended that its chain has taken back for good.
const REVERSED: &str = "reversed";

/// What the log says of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    /// It was taken.
    Taken,
    /// An operator has said that it was not.
    Gone,
    /// Its chain has taken back its movement, and this one has moved it since.
    MovedAgain,
    /// Its chain has taken it back for good.
    Reversed,
}

/// A statement about money, as the log has it. It may say more.
#[derive(Debug, Deserialize)]
pub(super) struct Moved {
    kind: String,
    exec_id: RunId,
    pub(super) payment: Digest,
    rail: String,
    amount: Amount,
    reference: Option<String>,
    ended: Option<String>,
}

impl Moved {
    pub(super) fn read(statement: &[u8]) -> Option<Self> {
        serde_json::from_slice(statement).ok().filter(|moved: &Self| moved.kind == "settlement")
    }

    pub(super) fn says(&self) -> Says {
        match self.ended.as_deref() {
            Some("gone") => Says::Gone,
            Some("moved") => Says::MovedAgain,
            Some(REVERSED) => Says::Reversed,
            Some(_) | None => Says::Taken,
        }
    }

    /// The movement that it has to name.
    fn movement<'p>(&self, payment: &'p ExaminedPayment) -> Option<&'p String> {
        let first = payment.first_reference.as_ref().filter(|_| self.says() == Says::Taken);
        first.or(payment.reference.as_ref())
    }

    /// What is wrong with it, beside the payment that it names.
    pub(super) fn fault(&self, leaf: &ExaminedLeaf, payment: &ExaminedPayment) -> Option<&'static str> {
        if leaf.run != Some(self.exec_id) || payment.run != self.exec_id {
            Some("what it says of money is of another run")
        } else if payment.rail != self.rail {
            Some("it names another rail than its payment")
        } else if payment.amount != self.amount {
            Some("it names another amount than its payment")
        } else if self.says() == Says::Reversed && !is_reversed(payment) {
            Some("it says that a payment was taken back, and the record does not")
        } else if self.says() != Says::Gone && !was_taken(payment) {
            Some("it says that a payment was taken, and the record does not")
        } else if self.says() != Says::Gone && self.movement(payment) != self.reference.as_ref() {
            Some("it names another movement than its payment")
        } else {
            None
        }
    }
}

/// What is wrong with a payment, beside its run. `is_current`: it is the one that its run stands by.
pub(super) fn payment_fault(payment: &ExaminedPayment, is_current: bool) -> Option<&'static str> {
    // What was asked for before the work stays when its claim is taken back.
    let is_left = payment.upfront && !is_current;
    match payment.price {
        None if !is_left => Some("a payment has bought a run that is not there"),
        // It pays for work that is done at the price of its own day, and what was left waits for its own call.
        // Of what is metered its price is the most.
        Some(price) if is_current && !payment.again && !is_of_price(payment, price) => {
            Some("a payment is not what the run costs")
        }
        Some(_) if is_current => unlike_its_run(payment),
        _ if is_left || payment.word.is_some() => None,
        None | Some(_) => Some("a payment is open, and is not the one that its run stands by"),
    }
}

/// Whether it is all of a price, or a part of it that usage came to.
fn is_of_price(payment: &ExaminedPayment, price: Amount) -> bool {
    match payment.most {
        None => payment.amount == price,
        Some(most) => most == price && payment.amount <= most,
    }
}

/// What a payment and the run that stands by it tell apart.
fn unlike_its_run(payment: &ExaminedPayment) -> Option<&'static str> {
    let settlement = payment.settlement.as_deref().and_then(SettlementWord::from_word);
    let word = match settlement? {
        SettlementWord::Captured => Some(CAPTURED),
        SettlementWord::Released => Some("released"),
        SettlementWord::Unpaid => Some("failed"),
        SettlementWord::Reversed => Some(REVERSED),
        SettlementWord::Free | SettlementWord::Held | SettlementWord::Capturing | SettlementWord::Pending => {
            None
        }
    };
    // How those ended that an earlier release has closed, it took over from their runs.
    if payment.word.as_deref() != word {
        Some("a payment and its run tell two ends")
    } else if payment.run_rail.as_ref() != Some(&payment.rail) {
        Some("a payment and its run name two rails")
    } else if was_taken(payment) && payment.run_reference != payment.reference {
        Some("a payment and its run name two movements")
    } else {
        None
    }
}

/// Whether it was taken, whatever its chain has made of that since.
pub(super) fn was_taken(payment: &ExaminedPayment) -> bool {
    payment.word.as_deref() == Some(CAPTURED) || is_reversed(payment)
}

/// Whether its chain has taken it back for good.
pub(super) fn is_reversed(payment: &ExaminedPayment) -> bool {
    payment.word.as_deref() == Some(REVERSED)
}

/// Whether the log must say what has become of it. Of credits an earlier release did not.
pub(super) fn must_be_said(payment: &ExaminedPayment) -> bool {
    was_taken(payment) && payment.at.is_some() && !payment.is_credit
}

#[cfg(test)]
mod tests {
    use execgate_model::{Amount, RunId};
    use execgate_store::ExaminedPayment;

    use super::payment_fault;

    fn payment() -> ExaminedPayment {
        ExaminedPayment {
            place: 2,
            run: RunId::from_entropy([1; 16]),
            rail: "x402".to_owned(),
            amount: Amount::from_micros(5),
            word: None,
            reference: None,
            first_reference: None,
            most: None,
            at: None,
            is_credit: false,
            again: false,
            price: Some(Amount::from_micros(5)),
            newest: Some(2),
            settlement: Some("capturing".to_owned()),
            run_rail: Some("x402".to_owned()),
            run_reference: None,
            upfront: false,
        }
    }

    #[test]
    fn a_payment_is_its_runs_or_was_left_or_is_closed() {
        assert_eq!(payment_fault(&payment(), true), None);
        let left = ExaminedPayment { upfront: true, ..payment() };
        let without_run = ExaminedPayment { price: None, newest: None, ..left.clone() };
        // Two of one run were left, and the run came again with the first.
        let beside_run = ExaminedPayment { newest: Some(1), ..left };
        assert_eq!((payment_fault(&without_run, false), payment_fault(&beside_run, false)), (None, None));
        let failed = ExaminedPayment { word: Some("failed".to_owned()), newest: Some(1), ..payment() };
        assert_eq!(payment_fault(&failed, false), None);
        let again = ExaminedPayment { again: true, price: Some(Amount::from_micros(4)), ..payment() };
        assert_eq!(payment_fault(&again, true), None);
        for wrong in [
            ExaminedPayment { price: None, newest: None, ..payment() },
            ExaminedPayment { newest: Some(3), ..payment() },
        ] {
            assert!(payment_fault(&wrong, false).is_some(), "{wrong:?}");
        }
        assert!(payment_fault(&ExaminedPayment { price: None, ..payment() }, false).is_some());
        for wrong in [
            ExaminedPayment { settlement: Some("captured".to_owned()), ..payment() },
            ExaminedPayment { word: Some("captured".to_owned()), ..payment() },
            ExaminedPayment { run_rail: Some("mpp".to_owned()), ..payment() },
        ] {
            assert!(payment_fault(&wrong, true).is_some(), "{wrong:?}");
        }
        let cheaper = ExaminedPayment { price: Some(Amount::from_micros(4)), ..payment() };
        assert!(payment_fault(&cheaper, true).is_some());
    }
}
