//! The kinds of problems that the scheme has names for.

/// Where the names of the scheme's problems live.
const BASE: &str = "https://paymentauth.org/problems/";

/// What is wrong with a payment, in the words of the scheme. Which problem has which status is for the door to say; the
/// draft wants 402 with a fresh challenge for all but [`Problem::MethodUnsupported`], which is 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Problem {
    /// Nothing came.
    PaymentRequired,
    /// Less came than is asked for.
    PaymentInsufficient,
    /// The challenge, or what was signed, is no longer good.
    PaymentExpired,
    /// What was signed does not hold.
    VerificationFailed,
    /// What came cannot be read.
    MalformedCredential,
    /// The challenge is none of ours, or for something else.
    InvalidChallenge,
    /// The way to pay is not taken here.
    MethodUnsupported,
}

impl Problem {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::PaymentRequired,
        Self::PaymentInsufficient,
        Self::PaymentExpired,
        Self::VerificationFailed,
        Self::MalformedCredential,
        Self::InvalidChallenge,
        Self::MethodUnsupported,
    ];

    /// The last part of its name.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            Self::PaymentRequired => "payment-required",
            Self::PaymentInsufficient => "payment-insufficient",
            Self::PaymentExpired => "payment-expired",
            Self::VerificationFailed => "verification-failed",
            Self::MalformedCredential => "malformed-credential",
            Self::InvalidChallenge => "invalid-challenge",
            Self::MethodUnsupported => "method-unsupported",
        }
    }

    /// The member `type`.
    #[must_use]
    pub fn kind(self) -> String {
        format!("{BASE}{}", self.slug())
    }

    /// The member `title`.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::PaymentRequired => "Payment Required",
            Self::PaymentInsufficient => "Payment Insufficient",
            Self::PaymentExpired => "Payment Expired",
            Self::VerificationFailed => "Verification Failed",
            Self::MalformedCredential => "Malformed Credential",
            Self::InvalidChallenge => "Invalid Challenge",
            Self::MethodUnsupported => "Method Unsupported",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Problem;

    #[test]
    fn titles_are_slugs_in_words() {
        for problem in Problem::ALL {
            assert_eq!(problem.title().to_lowercase().replace(' ', "-"), problem.slug());
        }
        assert_eq!(Problem::PaymentRequired.kind(), "https://paymentauth.org/problems/payment-required");
    }
}
