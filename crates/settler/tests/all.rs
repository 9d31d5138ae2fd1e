//! The back ends that move tokens, on a chain of each test's own.

#[cfg(test)]
mod suite {
    mod before;
    mod between;
    mod books;
    mod desk;
    mod money;
    mod paying;
    mod permit2;
    mod remote;
    mod reorgs;
    mod service;
}
