//! A number as the caller sees it.

use num_bigint::BigInt;
use num_integer::Integer as _;
use num_rational::BigRational;
use num_traits::{Signed as _, ToPrimitive as _, Zero as _};
use serde_json::{Map, Number, Value};

/// The largest integer that a JSON number holds exactly everywhere (RFC 7493, section 2.2).
const EXACT_MAX: i64 = (1 << 53) - 1;

/// The same as a double.
const EXACT_MAX_DOUBLE: f64 = 9_007_199_254_740_991.0;

/// Significant digits of a decimal.
const DIGITS: usize = 34;

/// Where a decimal is written with an exponent: this many zeros behind the point, or more digits before it than shown.
const ZEROS_MAX: i64 = 10;

/// `{"value", "exact", "decimal", "rounded"}`, the last two where they say something.
pub(super) fn show(number: &BigRational, was_rounded: bool) -> Value {
    let mut shown = Map::new();
    let mut is_rounded = was_rounded;
    if number.is_integer() {
        let small = number.to_i64().filter(|integer| (-EXACT_MAX..=EXACT_MAX).contains(integer));
        let value = small.map_or_else(|| number.to_integer().to_string().into(), Value::from);
        shown.insert("value".to_owned(), value);
    } else {
        let decimal = Decimal::of(number);
        let text = decimal.text();
        is_rounded |= decimal.is_rounded;
        let double =
            text.parse().ok().filter(|double: &f64| double.is_normal() && double.abs() < EXACT_MAX_DOUBLE);
        let double = double.and_then(Number::from_f64);
        shown.insert("value".to_owned(), double.map_or_else(|| text.clone().into(), Value::Number));
        shown.insert("decimal".to_owned(), text.into());
    }
    if !was_rounded {
        shown.insert("exact".to_owned(), number.to_string().into());
    }
    if is_rounded {
        shown.insert("rounded".to_owned(), true.into());
    }
    Value::Object(shown)
}

/// The first digits of a number, and where its point is.
struct Decimal {
    is_negative: bool,
    digits: String,
    /// The power of ten of the first digit.
    exponent: i64,
    is_rounded: bool,
}

impl Decimal {
    /// Of a number that is not zero. Halves go to the even digit.
    fn of(number: &BigRational) -> Self {
        let (numerator, denominator) = (number.numer().abs(), number.denom());
        let length = |number: &BigInt| i64::try_from(number.to_string().len()).unwrap_or(i64::MAX);
        // The first digit has this power of ten, or one less.
        let mut exponent = length(&numerator) - length(denominator);
        let wanted = i64::try_from(DIGITS).unwrap_or(i64::MAX);
        let (mut digits, mut is_rounded);
        loop {
            (digits, is_rounded) = scaled(&numerator, denominator, wanted - 1 - exponent);
            match i64::try_from(digits.len()).unwrap_or(i64::MAX) - wanted {
                0 => break,
                off => exponent += off,
            }
        }
        let digits = digits.trim_end_matches('0').to_owned();
        Self { is_negative: number.is_negative(), digits, exponent, is_rounded }
    }

    fn text(&self) -> String {
        let sign = if self.is_negative { "-" } else { "" };
        let count = i64::try_from(self.digits.len()).unwrap_or(i64::MAX);
        let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or_default());
        if self.exponent < 0 && self.exponent >= -ZEROS_MAX {
            return format!("{sign}0.{}{}", zeros(-self.exponent - 1), self.digits);
        }
        let (first, rest) = self.digits.split_at(1);
        if self.exponent < 0 || self.exponent >= i64::try_from(DIGITS).unwrap_or(i64::MAX) {
            let point = if rest.is_empty() { "" } else { "." };
            return format!("{sign}{first}{point}{rest}e{}", self.exponent);
        }
        let before = usize::try_from(self.exponent + 1).unwrap_or_default();
        match self.digits.split_at_checked(before) {
            Some((whole, part)) if !part.is_empty() => format!("{sign}{whole}.{part}"),
            _ => format!("{sign}{}{}", self.digits, zeros(self.exponent + 1 - count)),
        }
    }
}

/// The digits of a fraction times a power of ten, as a whole number, and whether that is not all.
fn scaled(numerator: &BigInt, denominator: &BigInt, power: i64) -> (String, bool) {
    let scale = BigInt::from(10).pow(u32::try_from(power.unsigned_abs()).unwrap_or(u32::MAX));
    let (over, under) = if power >= 0 {
        (numerator * scale, denominator.clone())
    } else {
        (numerator.clone(), denominator * scale)
    };
    let (whole, rest) = over.div_rem(&under);
    let double = &rest * 2;
    let up = double > under || (double == under && whole.is_odd());
    let whole = if up { whole + 1 } else { whole };
    (whole.to_string(), !rest.is_zero())
}

#[cfg(test)]
mod tests {
    use num_rational::BigRational;
    use proptest::{prop_assert, proptest};

    use super::{Decimal, show};

    fn text(numerator: i64, denominator: i64) -> String {
        Decimal::of(&BigRational::new(numerator.into(), denominator.into())).text()
    }

    #[test]
    fn decimals_are_written_as_people_write_them() {
        assert_eq!(text(-5, 2), "-2.5");
        assert_eq!(text(1, 1000), "0.001");
        assert_eq!(text(1, 1_000_000_000_000), "1e-12");
        assert_eq!(text(100_000_001, 100_000_000), "1.00000001");
        assert_eq!(text(2, 3), "0.6666666666666666666666666666666667");
        assert_eq!(text(i64::MAX, 2), "4611686018427387903.5");
        // Rounding up grows a digit.
        let nines = BigRational::new("9999999999999999999999999999999999999".parse().unwrap(), 10.into());
        assert_eq!(show(&nines, false)["value"], "1e36");
    }

    proptest! {
        #[test]
        fn a_value_is_near_what_the_machine_computes(a in -100_000_i32..100_000, b in 1_i32..100_000) {
            let shown = show(&BigRational::new(a.into(), b.into()), false);
            let value = shown["value"].as_f64().unwrap();
            prop_assert!((value - f64::from(a) / f64::from(b)).abs() <= value.abs() * 1e-15);
        }
    }
}
