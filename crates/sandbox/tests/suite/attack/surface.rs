//! Doors of the kernel that no guest may even reach.

use super::super::world::attacked;
use super::list::{SURFACE, is_held};

#[test]
fn no_door_of_the_kernel_is_reached() {
    is_held(SURFACE, &attacked());
}
