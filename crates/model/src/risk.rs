//! How much harm a tool can do: its class, and how bad that can get.

/// What a tool may do (PRODUCT D), the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RiskClass {
    /// It looks at something.
    Read,
    /// It changes something that can be changed back.
    Write,
    /// It runs code or commands.
    Execute,
    /// It removes something for good.
    Destructive,
    /// It moves money.
    Financial,
}

/// How bad it can get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Hardly.
    Low,
    /// It can be mended.
    Medium,
    /// It can spread.
    High,
    /// It cannot be taken back.
    Critical,
}

impl RiskClass {
    /// Every class, the least first.
    pub const ALL: [Self; 5] = [Self::Read, Self::Write, Self::Execute, Self::Destructive, Self::Financial];

    /// The word, as policies have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Execute => "execute",
            Self::Destructive => "destructive",
            Self::Financial => "financial",
        }
    }

    /// How bad it can get. Severity follows what can be taken back.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::Read => Severity::Low,
            Self::Write => Severity::Medium,
            Self::Execute => Severity::High,
            Self::Destructive | Self::Financial => Severity::Critical,
        }
    }
}

impl Severity {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RiskClass;

    #[test]
    fn the_classes_are_in_the_order_of_what_they_can_do() {
        assert!(RiskClass::ALL.is_sorted());
        assert!(RiskClass::ALL.is_sorted_by_key(|class| class.severity()));
        let words = RiskClass::ALL.map(|class| (class.as_str(), class.severity().as_str()));
        let expected = [
            ("read", "low"),
            ("write", "medium"),
            ("execute", "high"),
            ("destructive", "critical"),
            ("financial", "critical"),
        ];
        assert_eq!(words, expected);
    }
}
