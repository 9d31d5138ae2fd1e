//! The port of whoever moves tokens for us: by one's own key, or a service that does it.
//!
//! An authorization names itself: its token takes its nonce once. So settling it again moves nothing more, whoever asks
//! and however often; what is hard is to know whether it has happened. A back end that cannot tell says so, and never
//! guesses. Back ends live elsewhere (`settler`); the suite that each of them has to pass is in `testkit`.

use core::fmt;
use core::str::FromStr;

use execgate_model::{Amount, BoxFuture};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::evm::{Address, Authorization, ChainId, HexError, Means, Token, U256, from_hex, to_hex};
use crate::{CaptureError, Endurance, Found, LookError, Taken, Unreachable};

/// An amount of money has so many decimals.
const AMOUNT_DECIMALS: u32 = 6;

/// The name of a transaction: the hash of its bytes. Written `0x` and lowercase.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TxHash([u8; 32]);

impl TxHash {
    /// From its 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for TxHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for TxHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TxHash {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        let bytes = from_hex(text, 32)?;
        bytes.try_into().map(Self).map_err(|_| HexError::Length)
    }
}

impl Serialize for TxHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TxHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why an authorization is not known to be settled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettleError {
    /// It surely has not moved anything, and was not sent. The reason is a code of x402, an open set.
    #[error("the transfer is refused: {0}")]
    Refused(String),
    /// Whoever moves it was never asked: it surely has not moved anything, and its payer has no part in that. The reason is a
    /// code of that kind, too.
    #[error("the transfer was asked of nobody: {0}")]
    Unasked(String),
    /// Whoever moves it was not reached, and can be asked again as long as the authorization holds, since somebody can tell
    /// meanwhile where it is: it has not moved anything, and its payer has no part in that.
    #[error("the transfer was asked of nobody yet: {0}")]
    Postponed(String),
    /// Nobody can tell: it may have moved, or may still.
    #[error("nobody can tell yet whether the transfer has happened")]
    Unknown {
        /// The transaction that may have done it, where one is known.
        transaction: Option<TxHash>,
    },
}

/// What the chain says of an authorization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// Its nonce is free, and it is in time: it may still be settled.
    Unused,
    /// Its nonce is used.
    Used {
        /// By which transaction, where it was found.
        transaction: Option<TxHash>,
        /// Whether that moved exactly its value from its payer to its payee.
        to_us: bool,
    },
    /// Its nonce is free, and it is too late for it by the chain's own clock.
    Expired,
    /// Its payer has cancelled it.
    Cancelled,
}

/// Where the transfer of an authorization stands to the end of its chain that nothing takes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finality {
    /// It paid us, in a block that its chain will not take back: by this transaction.
    Final(TxHash),
    /// It is in a block, which its chain may still take back.
    Fresh,
    /// It is in no block, and may still be settled: its chain has taken it back.
    Open,
    /// It never paid us as far as its chain is final, and never will.
    Gone,
    /// Nobody could tell.
    Unclear,
}

/// What transfers are paid with: an account of one's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gas {
    /// The account.
    pub account: Address,
    /// What it has, in wei.
    pub wei: u128,
    /// How many transactions of it the newest block and those before it have: the number of the next one.
    pub nonce: u64,
}

/// Whoever moves tokens. Idempotent by the authorization itself.
pub trait Facilitator: Send + Sync {
    /// What it is called, in logs and answers.
    fn name(&self) -> &'static str;

    /// Whether it would have the transfer happen, asked before the work: how much of the token the payer has, where that
    /// can be seen. Moves nothing. A nonce that is used is refused, whoever it has paid: it may have bought something else.
    ///
    /// # Errors
    /// [`LookError::Refused`] with a code of x402, bounded and without control characters; [`LookError::Unreachable`] where
    /// nobody can be asked, or what is answered makes no sense.
    fn verify<'a>(
        &'a self,
        authorization: &'a Authorization,
    ) -> BoxFuture<'a, Result<Option<U256>, LookError>>;

    /// Has the transfer happen, and waits until its chain shows that exactly this was moved. Again for the same
    /// authorization: the same transaction, or what became of it.
    ///
    /// # Errors
    /// [`SettleError`] says whether it surely did not happen. A future that is dropped may have had it happen.
    fn settle<'a>(&'a self, authorization: &'a Authorization) -> BoxFuture<'a, Result<TxHash, SettleError>>;

    /// Where it stands. Moves nothing.
    ///
    /// # Errors
    /// [`Unreachable`] where nobody can be asked.
    fn whereabouts<'a>(
        &'a self,
        authorization: &'a Authorization,
    ) -> BoxFuture<'a, Result<Whereabouts, Unreachable>>;

    /// How much of a token an account has, in the token's smallest unit.
    ///
    /// # Errors
    /// [`Unreachable`] where nobody can be asked.
    fn balance<'a>(&'a self, token: &'a Token, account: Address) -> BoxFuture<'a, Result<U256, Unreachable>>;

    /// Whether it shows how far a chain is final.
    fn shows(&self, _chain: ChainId) -> bool {
        false
    }

    /// How far what was settled is final, in the order in which it is asked for; each with the transaction that settled it.
    /// Many are looked at as one. Moves nothing, but for what its own chain has taken back and it had promised to send.
    ///
    /// # Errors
    /// [`Unreachable`] where nobody can be asked.
    fn finality<'a>(
        &'a self,
        _settled: &'a [(Authorization, Option<TxHash>)],
    ) -> BoxFuture<'a, Result<Vec<Finality>, Unreachable>> {
        Box::pin(async move {
            Err(Unreachable(format!("`{}` does not show how far its chain is final", self.name())))
        })
    }

    /// What it pays its transfers with; none where that is not an account of one's own.
    ///
    /// # Errors
    /// [`Unreachable`] where nobody can be asked.
    fn gas(&self) -> BoxFuture<'_, Result<Option<Gas>, Unreachable>> {
        Box::pin(async { Ok(None) })
    }
}

/// `Rail::capture` of a rail whose state is an [`Authorization`]. The reference is the transaction.
///
/// # Errors
/// As [`crate::Rail::capture`].
pub async fn capture_authorized(facilitator: &dyn Facilitator, state: &[u8]) -> Result<String, CaptureError> {
    let authorization =
        Authorization::from_bytes(state).map_err(|error| CaptureError::Failed(error.to_string()))?;
    if matches!(authorization.by, Means::UpTo { taken: None, .. }) {
        return Err(CaptureError::Failed("nobody has said how much of it is taken".to_owned()));
    }
    match facilitator.settle(&authorization).await {
        Ok(transaction) => Ok(transaction.to_string()),
        Err(SettleError::Refused(reason)) => Err(CaptureError::Failed(reason)),
        Err(SettleError::Unasked(reason)) => Err(CaptureError::Unasked(reason)),
        Err(SettleError::Postponed(reason)) => Err(CaptureError::Postponed(reason)),
        Err(SettleError::Unknown { transaction }) => {
            Err(CaptureError::Unknown { reference: transaction.map(|hash| hash.to_string()) })
        }
    }
}

/// `Rail::whereabouts` of such a rail.
///
/// # Errors
/// As [`crate::Rail::whereabouts`].
pub async fn find_authorized(facilitator: &dyn Facilitator, state: &[u8]) -> Result<Found, Unreachable> {
    let authorization = Authorization::from_bytes(state).map_err(|error| Unreachable(error.to_string()))?;
    Ok(match facilitator.whereabouts(&authorization).await? {
        Whereabouts::Unused => Found::Open,
        Whereabouts::Used { transaction, to_us: true } => {
            Found::Taken { reference: transaction.map(|hash| hash.to_string()) }
        }
        Whereabouts::Expired => Found::Lapsed,
        Whereabouts::Used { to_us: false, .. } | Whereabouts::Cancelled => Found::Gone,
    })
}

/// `Rail::funds` of such a rail: whoever moves the tokens is asked whether it would.
///
/// # Errors
/// As [`crate::Rail::funds`].
pub async fn funds_of_payer(
    facilitator: &dyn Facilitator,
    state: &[u8],
) -> Result<Option<Amount>, LookError> {
    let authorization = Authorization::from_bytes(state).map_err(|error| Unreachable(error.to_string()))?;
    let units = facilitator.verify(&authorization).await?;
    Ok(units.map(|units| amount_of(units, authorization.token.decimals)))
}

/// `Rail::may_go_back` of such a rail.
#[must_use]
pub fn authorized_may_go_back(facilitator: &dyn Facilitator, state: &[u8]) -> bool {
    Authorization::from_bytes(state).is_ok_and(|paid| facilitator.shows(paid.token.network))
}

/// `Rail::endurance` of such a rail.
///
/// # Errors
/// As [`crate::Rail::endurance`].
pub async fn endurance_of_authorized(
    facilitator: &dyn Facilitator,
    taken: &[Taken<'_>],
) -> Result<Vec<Endurance>, Unreachable> {
    let read = |taken: &Taken<'_>| {
        let authorization = Authorization::from_bytes(taken.state);
        let authorization = authorization.map_err(|error| Unreachable(error.to_string()))?;
        Ok((authorization, taken.reference.and_then(|hash| hash.parse().ok())))
    };
    let settled: Vec<_> = taken.iter().map(read).collect::<Result<_, Unreachable>>()?;
    let found = facilitator.finality(&settled).await?;
    let told = |finality| match finality {
        Finality::Final(hash) => Endurance::Final { reference: hash.to_string() },
        Finality::Fresh | Finality::Unclear => Endurance::Undecided,
        Finality::Open => Endurance::TakenBack,
        Finality::Gone => Endurance::Gone,
    };
    Ok(found.into_iter().map(told).collect())
}

/// Units of a token as money: what is less than a millionth is nothing, and what does not fit is the largest amount.
fn amount_of(units: U256, decimals: u8) -> Amount {
    let decimals = u32::from(decimals);
    let units = u128::from(units.saturating_u64());
    let scale = |places: u32| 10_u128.checked_pow(places).unwrap_or(u128::MAX);
    let micros = if decimals >= AMOUNT_DECIMALS {
        units / scale(decimals - AMOUNT_DECIMALS)
    } else {
        units.saturating_mul(scale(AMOUNT_DECIMALS - decimals))
    };
    Amount::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use execgate_model::Amount;

    use super::{TxHash, amount_of};
    use crate::evm::{HexError, U256};

    #[test]
    fn units_become_money_by_the_decimals_of_their_token() {
        for (units, decimals, micros) in
            [(1_234_567, 6, 1_234_567), (5, 2, 50_000), (1_999, 9, 1), (7, 255, 0)]
        {
            assert_eq!(
                amount_of(U256::from(units), decimals),
                Amount::from_micros(micros),
                "{units} {decimals}"
            );
        }
        let largest = U256::from_bytes([0xff; 32]);
        assert_eq!(amount_of(largest, 6), Amount::from_micros(u64::MAX));
    }

    #[test]
    fn a_transaction_reads_back_what_it_writes() {
        let hash = TxHash::from_bytes([0xab; 32]);
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!("0xabab".parse::<TxHash>(), Err(HexError::Length));
    }
}
