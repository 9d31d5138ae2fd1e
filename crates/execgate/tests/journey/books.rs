//! The books of a gateway that nobody serves, held against the chain: every unit that moved is of one payment, and every
//! payment that is said to be taken has moved.

use std::collections::BTreeMap;
use std::path::Path;

use execgate_payment::evm::Authorization;
use execgate_testkit::chain::{Chain, SELLER, Transfer};
use execgate_testkit::wallet::Wallet;
use rusqlite::{Connection, OpenFlags};

/// The file of the record, in a data directory.
const RECORD: &str = "execgate.db";

/// A payment of the record.
#[derive(Debug, Clone)]
struct Row {
    payer: String,
    units: u64,
    word: Option<String>,
    reference: Option<String>,
    is_credit: bool,
}

impl Row {
    fn is_taken(&self) -> bool {
        self.word.as_deref() == Some("captured")
    }
}

/// All payments, by their keys.
pub(super) struct Books(BTreeMap<Vec<u8>, Row>);

impl Books {
    /// Reads the books of a data directory.
    pub(super) fn read(data: &Path) -> Self {
        let record =
            Connection::open_with_flags(data.join(RECORD), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let sql = "SELECT p.key, p.payer, p.amount, p.word, p.reference, c.payment IS NOT NULL \
            FROM payment p LEFT JOIN credit c ON c.payment = p.id";
        let mut asked = record.prepare(sql).unwrap();
        let rows = asked.query_map([], |row| {
            let units = row.get::<_, i64>(2)?.unsigned_abs();
            let (payer, word, reference, is_credit) = (row.get(1)?, row.get(3)?, row.get(4)?, row.get(5)?);
            Ok((row.get(0)?, Row { payer, units, word, reference, is_credit }))
        });
        Self(rows.unwrap().collect::<Result<_, _>>().unwrap())
    }

    fn of(&self, paid: &Authorization) -> Option<&Row> {
        self.0.get(paid.claim_key().as_bytes().as_slice())
    }

    /// Whether a payment was taken for work: it is no credit.
    pub(super) fn has_paid(&self, paid: &Authorization) -> bool {
        self.of(paid).is_some_and(|row| row.is_taken() && !row.is_credit)
    }

    fn sum(&self, counts: impl Fn(&Row) -> bool) -> u64 {
        self.0.values().filter(|row| row.is_taken() && counts(row)).map(|row| row.units).sum()
    }

    /// All that was taken, in units.
    pub(super) fn taken(&self) -> u64 {
        self.sum(|_| true)
    }

    /// What of it is owed to payers.
    pub(super) fn credited(&self) -> u64 {
        self.sum(|row| row.is_credit)
    }

    /// What does not fit between the books, the chain, and all that was ever signed by wallets that had so much each.
    pub(super) fn faults<'a>(
        &self,
        chain: &Chain,
        signed: impl Iterator<Item = &'a Authorization>,
        wallets: impl Iterator<Item = (Wallet, u64)>,
    ) -> Vec<String> {
        let mut faults = Vec::new();
        let mut moved: BTreeMap<String, Transfer> = BTreeMap::new();
        for transfer in chain.transfers() {
            if !transfer.to.eq_ignore_ascii_case(SELLER.address) {
                faults.push(format!("money went elsewhere: {transfer:?}"));
            } else if let Some(twice) = moved.insert(transfer.transaction.clone(), transfer) {
                faults.push(format!("two transfers in one transaction: {twice:?}"));
            }
        }
        for row in self.0.values().filter(|row| row.is_taken()) {
            let found = row.reference.as_ref().and_then(|reference| moved.remove(reference));
            if !found.is_some_and(|found| row.payer.ends_with(&found.from) && row.units == found.value) {
                faults.push(format!("the books say that it was taken, and the chain does not: {row:?}"));
            }
        }
        faults.extend(
            moved.values().map(|transfer| format!("it moved, and is not in the books: {transfer:?}")),
        );
        for paid in signed {
            let (is_used, row) = (chain.has_used(paid), self.of(paid));
            if is_used != row.is_some_and(Row::is_taken) {
                faults.push(format!("the nonce of a payment is used ({is_used}), and its row is {row:?}"));
            }
            if row.is_some_and(|row| row.word.is_none()) {
                faults.push(format!("a payment is open in the end: {row:?}"));
            }
        }
        if chain.balance(SELLER.address) != self.taken() {
            faults.push(format!(
                "{} units came, and {} are booked",
                chain.balance(SELLER.address),
                self.taken()
            ));
        }
        for (wallet, had) in wallets {
            let who = wallet.address().to_string();
            let spent = self.sum(|row| row.payer.ends_with(&who.to_ascii_lowercase()));
            if chain.balance(&who) + spent != had {
                faults.push(format!("{who} had {had}, has {}, and {spent} are booked", chain.balance(&who)));
            }
        }
        faults
    }
}
