//! The one integration-test binary: the corridor as its callers, its operator and its auditor see it.
//!
//! One file a room (`policy` is authorise, with what a file says); `approvals` who may say yes and to what, `parking` what waits for people, `withdrawn` what its caller takes back of that, `audit` what is taken note of; `once`, `crash`, `kill` and `simulation` hold the promises that cross all of them, `fsck` what shows that a record does not hold together, `doors` what
//! HTTP says, `grants` who may ask, `grant_rules` what the rules of a grant's own add, `admin` who administers, `own_keys` what the gateway signs with, `log` what anybody reads of the transparency log and what it finds, `shapes` and `any_call` what it says to bad input on every surface, `actions` those of the operator's own, `code` and `streaming` what the
//! surfaces say that sell code, `secureexec` and `secureexec_batch` what those say that call tools, `revenue` what the operator sees of money, `loose` payments that nobody walks with any more, `mcp` who and what is the same again at that door, `outcomes` the table of
//! CONTRACTS 3. A test reads its answers from outside: the bank's
//! books, the starts of handlers, the record, the receipt.

#[cfg(test)]
mod suite {
    mod actions;
    mod admin;
    mod any_call;
    mod approvals;
    mod audit;
    mod by_hand;
    mod callers;
    mod code;
    mod cosigning;
    mod crash;
    mod denied;
    mod doors;
    mod execute;
    mod fsck;
    mod grant_rules;
    mod grants;
    mod kill;
    mod log;
    mod loose;
    mod mcp;
    mod once;
    mod outcomes;
    mod own_keys;
    mod paid_batches;
    mod parked;
    mod parking;
    mod pay;
    mod policy;
    mod propose;
    mod revenue;
    mod secureexec;
    mod secureexec_batch;
    mod settle;
    mod shapes;
    mod simulation;
    mod streaming;
    mod taken_up;
    mod tokens;
    mod upfront;
    mod wallets;
    mod withdrawn;
    mod witness;
    mod word;
}
