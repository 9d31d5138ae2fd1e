//! The one integration-test binary: the corridor as its callers, its operator and its auditor see it.
//!
//! One file a room; `once`, `crash`, `kill` and `simulation` hold the promises that cross all of them, `doors` what
//! HTTP says, `outcomes` the table of CONTRACTS 3. A test reads its answers from outside: the bank's books, the
//! starts of handlers, the record, the receipt.

#[cfg(test)]
mod suite {
    mod callers;
    mod crash;
    mod doors;
    mod execute;
    mod kill;
    mod once;
    mod outcomes;
    mod pay;
    mod propose;
    mod settle;
    mod simulation;
    mod witness;
}
