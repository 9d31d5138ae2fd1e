//! Why a declaration is no action. The texts are for the operator.

/// Why a declaration is no action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAction {
    /// Its name is not one that an action may have.
    #[error("an action is called by 1 to 64 of a-z, 0-9, `_` and `-`, the first a letter")]
    Name,
    /// Its name means something else already.
    #[error("the name belongs to a tool, a language, an offer or a blocked tool")]
    Reserved,
    /// A text that people and models read is missing or too long.
    #[error("`description` must have 1 to {max} bytes")]
    Description {
        /// The bound, in bytes.
        max: usize,
    },
    /// Its deadline is none that a tool may have.
    #[error("`timeout_s` must be more than 0 and at most 30")]
    Timeout,
    /// Its schema cannot be kept.
    #[error("`schema` {0}")]
    Schema(String),
    /// A field of the declaration breaks a rule.
    #[error("`{field}` {rule}")]
    Field {
        /// The field.
        field: &'static str,
        /// The rule.
        rule: String,
    },
    /// A secret is named that is not there. The name is not told: it may be the secret itself, in the wrong place.
    #[error("it names a secret that no section [secrets.NAME] makes")]
    NoSecret,
    /// A command needs a jail, and there is none.
    #[error("a command runs in the jail, and code is off")]
    NoJail,
    /// A command names a profile that is not there.
    #[error("there is no profile `{0}`")]
    NoProfile(String),
}

impl BadAction {
    pub(super) fn field(field: &'static str, rule: impl Into<String>) -> Self {
        Self::Field { field, rule: rule.into() }
    }
}
