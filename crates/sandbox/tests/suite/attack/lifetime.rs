//! Nothing outlives its run, whatever it does to go on.

use super::super::world::attacked;
use super::list::{LIFETIME, is_held};

#[test]
fn what_tries_to_go_on_is_over_with_its_run() {
    is_held(LIFETIME, &attacked());
}
