//! Names and numbers that identify things. Each is checked once, where it is made.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Why a text cannot be the identifier that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("{what} must not be empty")]
    Empty {
        /// Which identifier.
        what: &'static str,
    },
    /// The text is longer than identifiers of this kind may be.
    #[error("{what} must not be longer than {max} bytes")]
    TooLong {
        /// Which identifier.
        what: &'static str,
        /// The bound, in bytes of UTF-8.
        max: usize,
    },
    /// The text holds a character that identifiers of this kind may not hold.
    #[error("{what} must hold only {allowed}")]
    Character {
        /// Which identifier.
        what: &'static str,
        /// The allowed characters, in words.
        allowed: &'static str,
    },
    /// The text is not a UUID.
    #[error("{what} must be a UUID")]
    Uuid {
        /// Which identifier.
        what: &'static str,
    },
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, max $max:literal, $allowed:literal, $fits:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// Checks and wraps a text.
            ///
            /// # Errors
            /// [`IdError`] says which rule the text breaks.
            pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                if text.is_empty() {
                    return Err(IdError::Empty { what: $what });
                }
                if text.len() > $max {
                    return Err(IdError::TooLong { what: $what, max: $max });
                }
                let fits: fn(char) -> bool = $fits;
                if !text.chars().all(fits) {
                    return Err(IdError::Character { what: $what, allowed: $allowed });
                }
                Ok(Self(text))
            }

            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

const NAME_CHARACTERS: &str = "letters, digits and `_ . : -`";

fn in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-')
}

text_id!(
    /// The name of something that can be run: `echo`, `python`, `server.tool`.
    ActionName, "an action's name", max 128, "letters, digits and `_ . : -`", in_name
);
text_id!(
    /// The caller's own name for one execution; a second use of it is a replay (CONTRACTS 2).
    Nonce, "a nonce", max 255, "characters that are not control characters", |c| !c.is_control()
);
text_id!(
    /// A tenant of the gateway.
    TenantId, "a tenant", max 64, "letters, digits and `_ . : -`", in_name
);
text_id!(
    /// A grant: the standing of one identified caller.
    GrantId, "a grant", max 64, "letters, digits and `_ . : -`", in_name
);
text_id!(
    /// Somebody who may approve, by the name in the operator's configuration.
    ApproverName, "an approver", max 64, "letters, digits and `_ . : -`", in_name
);
text_id!(
    /// The stable name of a rule by which something was allowed or refused.
    RuleId, "a rule", max 256, "characters that are not control characters", |c| !c.is_control()
);

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(Uuid);

        impl $name {
            /// A version 8 UUID (RFC 9562, section 5.8) of sixteen bytes that a hash or a random source gave.
            #[must_use]
            pub fn from_entropy(bytes: [u8; 16]) -> Self {
                Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
            }

            /// The sixteen bytes, for a database key.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// Reads back what [`Self::as_bytes`] gave.
            #[must_use]
            pub fn from_stored(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::try_parse(text).map(Self).map_err(|_| IdError::Uuid { what: $what })
            }
        }
    };
}

uuid_id!(
    /// A run; called `exec_id` on the wire.
    RunId, "an exec_id"
);
uuid_id!(
    /// What is used up by a run that it approved. Of a parked run it is the run's own id.
    ApprovalId, "an approval_id"
);
uuid_id!(
    /// One process that runs things.
    InstanceId, "an instance"
);

impl From<RunId> for ApprovalId {
    fn from(run: RunId) -> Self {
        Self(run.0)
    }
}

impl ActionName {
    /// The characters that a name may hold, in words for an error text.
    pub const CHARACTERS: &str = NAME_CHARACTERS;
}

#[cfg(test)]
mod tests {
    use super::{ActionName, IdError, Nonce, RunId};

    #[test]
    fn a_name_with_a_slash_is_refused() {
        assert!(matches!(ActionName::new("a/b"), Err(IdError::Character { .. })));
        assert_eq!(ActionName::new("server.tool").unwrap().as_str(), "server.tool");
    }

    #[test]
    fn a_nonce_holds_no_control_character_and_is_bounded() {
        assert!(matches!(Nonce::new("a\nb"), Err(IdError::Character { .. })));
        assert!(matches!(Nonce::new("n".repeat(256)), Err(IdError::TooLong { .. })));
        assert!(matches!(Nonce::new(""), Err(IdError::Empty { .. })));
    }

    #[test]
    fn a_run_id_is_a_version_8_uuid_that_reads_back() {
        let id = RunId::from_entropy([7; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().as_bytes()[14], b'8');
        assert_eq!(RunId::from_stored(*id.as_bytes()), id);
    }
}
