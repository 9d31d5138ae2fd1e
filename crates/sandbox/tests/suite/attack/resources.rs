//! Whatever eats a machine meets a limit, and nobody else feels it.

use super::super::world::attacked;
use super::list::{RESOURCES, is_held};

#[test]
fn what_eats_a_machine_meets_its_limit() {
    is_held(RESOURCES, &attacked());
}
