//! Interpreters that wait in finished jails: each is for one run, shares nothing with the next, and is worth no more
//! than its stem.

use std::collections::BTreeSet;

use super::world::{sandbox, value_in};

#[test]
fn what_is_random_differs_between_two_forks_of_one_interpreter() {
    let sandbox = sandbox();
    let code = "import random, os, uuid, secrets, numpy, tempfile, ssl\n\
        [random.random(), os.urandom(8), uuid.uuid4(), secrets.token_hex(), numpy.random.random(), \
        numpy.random.default_rng().random(), ssl.RAND_bytes(8), tempfile.mktemp(), random.SystemRandom().random()]";
    let seen: BTreeSet<String> = (0..8)
        .flat_map(|_| {
            let told = value_in(&sandbox, code);
            told.split(", ").map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(seen.len(), 8 * 9, "{seen:?}");
}
