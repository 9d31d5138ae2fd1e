//! How long a tool may take.

use core::time::Duration;

use execgate_model::RunOptions;

use crate::BadCall;

/// The deadline of a call that asks for none (CONTRACTS 4).
pub(crate) const WALL_DEFAULT: Duration = Duration::from_secs(10);

/// The longest deadline that may be asked for (CONTRACTS 4).
pub(crate) const WALL_MAX: Duration = Duration::from_secs(30);

/// The deadline of a call.
pub(crate) fn wall(options: &RunOptions) -> Result<Duration, BadCall> {
    match options.timeout_ms.map(Duration::from_millis) {
        None => Ok(WALL_DEFAULT),
        Some(wall) if !wall.is_zero() && wall <= WALL_MAX => Ok(wall),
        Some(_) => {
            let max = WALL_MAX.as_secs();
            Err(BadCall::at("", format!("the timeout of a tool is more than 0 and at most {max} seconds")))
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use execgate_model::RunOptions;

    use super::{WALL_DEFAULT, wall};

    #[test]
    fn a_deadline_is_ten_seconds_and_never_more_than_thirty() {
        let of = |timeout_ms| wall(&RunOptions { timeout_ms, ..RunOptions::default() });
        assert_eq!(of(None), Ok(WALL_DEFAULT));
        assert_eq!(of(Some(30_000)), Ok(Duration::from_secs(30)));
        assert!(of(Some(30_001)).is_err());
        assert!(of(Some(0)).is_err());
    }
}
