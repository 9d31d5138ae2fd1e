//! How what is said of a grant is read: by the command line, and by the administration door.

use core::time::Duration;

use execgate_model::{Role, UnixMs};
use jiff::Timestamp;

/// The longest name, label, domain or wallet, in bytes.
const TEXT_MAX: usize = 128;

/// A role by its word.
///
/// # Errors
/// The words that there are.
pub fn role(word: &str) -> Result<Role, String> {
    let words = || Role::ALL.map(Role::as_str).join(", ");
    Role::from_word(word).ok_or_else(|| format!("a role is one of {}", words()))
}

/// A text of one line.
///
/// # Errors
/// What a text is.
pub fn text(text: &str) -> Result<String, String> {
    let fits = !text.trim().is_empty() && text.len() <= TEXT_MAX && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned()).ok_or_else(|| format!("this must be 1 to {TEXT_MAX} bytes in one line"))
}

/// `name=value`.
///
/// # Errors
/// What a label is.
pub fn label(pair: &str) -> Result<(String, String), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/');
    let parts = pair.split_once('=').filter(|(name, _)| !name.is_empty() && name.chars().all(plain));
    let (name, value) = parts.ok_or("a label is `name=value`, its name of letters, digits and `_ . - /`")?;
    Ok((text(name)?, text(value)?))
}

/// An account in the normal form of its chain (CAIP-10): `eip155:8453:0x…`.
///
/// # Errors
/// What a wallet is.
pub fn wallet(account: &str) -> Result<String, String> {
    let parts: Vec<&str> = account.split(':').collect();
    let plain = |part: &&str| {
        !part.is_empty()
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '%'))
    };
    if parts.len() == 3 && parts.iter().all(plain) && account.len() <= TEXT_MAX {
        Ok(account.to_owned())
    } else {
        Err("a wallet is `namespace:chain:address`, such as eip155:8453:0x…".to_owned())
    }
}

/// A length of time: `90d`, `12h`, `30m`, `45s`, `0s`.
///
/// # Errors
/// What a length of time is.
pub fn length(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no length of time; write 90d, 12h, 30m or 45s");
    let (count, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let count: u32 = count.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(count) * seconds))
}

/// An end: a length of time from now, or a moment (RFC 3339).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// So long from now.
    After(Duration),
    /// At this moment.
    At(UnixMs),
}

fn end(text: &str) -> Result<End, String> {
    if let Ok(length) = length(text) {
        return Ok(End::After(length));
    }
    let moment = text.parse::<Timestamp>().ok();
    let ms = moment.and_then(|moment| u64::try_from(moment.as_millisecond()).ok());
    ms.map(|ms| End::At(UnixMs(ms)))
        .ok_or_else(|| format!("`{text}` is no end; write 90d, 12h or 2027-01-31T00:00:00Z"))
}

impl End {
    /// Reads an end.
    ///
    /// # Errors
    /// What an end is.
    pub fn read(text: &str) -> Result<Self, String> {
        end(text)
    }

    /// The moment that it is.
    #[must_use]
    pub fn moment(self, now: UnixMs) -> UnixMs {
        match self {
            Self::After(length) => after(now, length),
            Self::At(moment) => moment,
        }
    }
}

/// So long from now.
fn after(now: UnixMs, length: Duration) -> UnixMs {
    UnixMs(now.0.saturating_add(u64::try_from(length.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use execgate_model::UnixMs;

    use super::{end, label, length, text, wallet};

    #[test]
    fn lengths_of_time_have_a_unit() {
        assert_eq!(length("90d"), Ok(Duration::from_hours(90 * 24)));
        assert_eq!((length("0s"), length("2m")), (Ok(Duration::ZERO), Ok(Duration::from_mins(2))));
        for wrong in ["", "d", "90", "-1d", "1.5h", "9w", "99999999999d", "1ü"] {
            assert!(length(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_end_is_a_length_or_a_moment() {
        assert_eq!(end("1s").unwrap().moment(UnixMs(5)), UnixMs(1_005));
        assert_eq!(end("1970-01-01T00:00:02Z").unwrap().moment(UnixMs(5)), UnixMs(2_000));
        assert!(end("tomorrow").is_err() && end("1969-01-01T00:00:00Z").is_err());
    }

    #[test]
    fn labels_wallets_and_texts_are_bounded_and_plain() {
        assert_eq!(label("team=red = green"), Ok(("team".to_owned(), "red = green".to_owned())));
        assert!(label("team").is_err() && label("=x").is_err() && label("a b=x").is_err());
        assert!(wallet("eip155:8453:0xAb").is_ok());
        assert!(wallet("0xAb").is_err() && wallet("a:b:c:d").is_err() && wallet("a::c").is_err());
        assert!(text(" ").is_err() && text("a\nb").is_err() && text(&"x".repeat(129)).is_err());
    }
}
