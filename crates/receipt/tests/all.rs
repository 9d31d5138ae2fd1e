//! The crate from outside: only what it publishes, in one binary.
//!
//! `fixture` builds a typical run; the other files hold one promise each.

#[cfg(test)]
mod suite {
    mod approval;
    mod canonical;
    mod clawshield;
    mod fixture;
    mod golden;
    mod openssl;
    mod seal;
    mod tamper;
    mod tlog;
    mod verify;
}
