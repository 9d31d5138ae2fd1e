//! Steps of a calculation, each weighed before it is computed: no number grows beyond [`BITS_MAX`], and all steps
//! together have a budget.

use num_bigint::BigInt;
use num_integer::Integer as _;
use num_rational::BigRational;
use num_traits::{One as _, Signed as _, ToPrimitive as _, Zero as _};

/// The largest numerator and denominator, in bits: some 4,900 digits.
pub(super) const BITS_MAX: u64 = 16_384;

/// The largest number whose factorial is computed; its bits stay within [`BITS_MAX`].
const FACTORIAL_MAX: u32 = 1_700;

/// What all steps may cost, in squared bits, as reducing a fraction does: some tenths of a second.
const BUDGET: u64 = 20_000_000_000;

/// The digits of a root that has no end.
const ROOT_DIGITS: u64 = 50;

/// Computes, within bounds.
#[derive(Debug)]
pub(super) struct Calculator {
    budget: u64,
    rounded: bool,
}

/// A result, or what is wrong in words for the caller.
pub(super) type Calculated = Result<BigRational, String>;

pub(super) fn bits(number: &BigRational) -> u64 {
    number.numer().bits().max(number.denom().bits())
}

fn too_large() -> String {
    format!("a number is too large: at most {BITS_MAX} bits (some 4,900 digits) are computed")
}

impl Calculator {
    pub(super) fn new() -> Self {
        Self { budget: BUDGET, rounded: false }
    }

    /// Whether a value was rounded on the way.
    pub(super) fn has_rounded(&self) -> bool {
        self.rounded
    }

    /// Says that a value was rounded.
    pub(super) fn round_off(&mut self) {
        self.rounded = true;
    }

    /// Pays for a step over numbers of so many bits in all.
    pub(super) fn pay(&mut self, bits: u64) -> Result<(), String> {
        let cost = bits.saturating_mul(bits).max(1);
        let left = self.budget.checked_sub(cost);
        self.budget = left.ok_or("the expression takes too much work; use fewer steps or smaller numbers")?;
        Ok(())
    }

    pub(super) fn bounded(number: BigRational) -> Calculated {
        if bits(&number) > BITS_MAX { Err(too_large()) } else { Ok(number) }
    }

    pub(super) fn add(&mut self, a: &BigRational, b: &BigRational) -> Calculated {
        self.pay(bits(a) + bits(b))?;
        Self::bounded(a + b)
    }

    pub(super) fn subtract(&mut self, a: &BigRational, b: &BigRational) -> Calculated {
        self.add(a, &-b)
    }

    pub(super) fn multiply(&mut self, a: &BigRational, b: &BigRational) -> Calculated {
        self.pay(bits(a) + bits(b))?;
        Self::bounded(a * b)
    }

    pub(super) fn divide(&mut self, a: &BigRational, b: &BigRational) -> Calculated {
        if b.is_zero() {
            return Err("division by zero".to_owned());
        }
        self.multiply(a, &b.recip())
    }

    /// The remainder of a floored division: it has the sign of the divisor.
    pub(super) fn remainder(&mut self, a: &BigRational, b: &BigRational) -> Calculated {
        let whole = self.divide(a, b)?.floor();
        let taken = self.multiply(b, &whole)?;
        self.subtract(a, &taken)
    }

    pub(super) fn power(&mut self, base: &BigRational, exponent: &BigRational) -> Calculated {
        if *exponent == BigRational::new(1.into(), 2.into()) {
            return self.square_root(base);
        }
        if !exponent.is_integer() {
            return Err("an exponent must be a whole number or 1/2".to_owned());
        }
        if exponent.is_zero() {
            return Ok(BigRational::one());
        }
        if base.is_zero() && exponent.is_negative() {
            return Err("division by zero".to_owned());
        }
        if base.is_zero() || base.is_one() {
            return Ok(base.clone());
        }
        if (-base).is_one() {
            return Ok(if exponent.numer().is_even() { BigRational::one() } else { base.clone() });
        }
        // Now each further factor adds at least half of a bit to one side.
        let count = exponent.to_i32().filter(|count| {
            let grown = (bits(base).max(2) - 1).saturating_mul(count.unsigned_abs().into());
            grown <= BITS_MAX
        });
        let count = count.ok_or_else(too_large)?;
        self.pay(BITS_MAX)?;
        Self::bounded(base.pow(count))
    }

    pub(super) fn factorial(&mut self, number: &BigRational) -> Calculated {
        if !number.is_integer() || number.is_negative() {
            return Err("a factorial is that of a whole number from 0".to_owned());
        }
        let count = number.to_u32().filter(|count| *count <= FACTORIAL_MAX);
        let count = count.ok_or_else(|| format!("a factorial is computed up to {FACTORIAL_MAX}!"))?;
        self.pay(BITS_MAX)?;
        let product = (2..=count).fold(BigInt::one(), |product, factor| product * factor);
        Self::bounded(BigRational::from_integer(product))
    }

    /// The root, exact where it is rational, else rounded.
    pub(super) fn square_root(&mut self, number: &BigRational) -> Calculated {
        if number.is_negative() {
            return Err("the square root of a negative number is not real".to_owned());
        }
        self.pay(4 * BITS_MAX)?;
        let (numerator, denominator) = (number.numer().sqrt(), number.denom().sqrt());
        if &numerator * &numerator == *number.numer() && &denominator * &denominator == *number.denom() {
            return Ok(BigRational::new(numerator, denominator));
        }
        self.rounded = true;
        // As many digits more as the root is smaller than one; three bits are less than a digit.
        let shrunk = number.denom().bits().saturating_sub(number.numer().bits()) / 6;
        let digits = u32::try_from(ROOT_DIGITS + shrunk).map_err(|_| too_large())?;
        let scale = BigInt::from(10).pow(digits);
        let under = number.numer() * number.denom() * &scale * &scale;
        Self::bounded(BigRational::new(under.sqrt(), number.denom() * scale))
    }
}

#[cfg(test)]
mod tests {
    use num_rational::BigRational;

    use super::{BITS_MAX, Calculator, FACTORIAL_MAX};

    #[test]
    fn the_largest_factorial_is_within_the_bound() {
        let number = |number: u32| BigRational::from_integer(number.into());
        let largest = Calculator::new().factorial(&number(FACTORIAL_MAX)).unwrap();
        assert!(largest.numer().bits() <= BITS_MAX);
        assert!(Calculator::new().factorial(&number(FACTORIAL_MAX + 1)).is_err());
    }

    #[test]
    fn the_budget_ends() {
        let mut calculator = Calculator::new();
        let paid = (0..1000).take_while(|_| calculator.pay(2 * BITS_MAX).is_ok()).count();
        assert!((10..100).contains(&paid), "{paid}");
    }
}
