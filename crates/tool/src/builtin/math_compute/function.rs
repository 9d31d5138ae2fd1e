//! Functions and constants by their names.

use core::cmp::Ordering;

use num_bigint::BigInt;
use num_integer::Integer as _;
use num_rational::BigRational;
use num_traits::{Signed as _, ToPrimitive as _, Zero as _};

use super::arithmetic::{Calculated, Calculator, bits};
use super::parse::decimal;

/// Every function.
pub(super) const NAMES: [&str; 16] = [
    "abs",
    "sign",
    "min",
    "max",
    "sum",
    "mean",
    "floor",
    "ceil",
    "trunc",
    "round",
    "sqrt",
    "pow",
    "mod",
    "gcd",
    "lcm",
    "factorial",
];

/// The most digits that a number is rounded to.
const ROUND_DIGITS_MAX: i32 = 1000;

const PI: &str = "3.14159265358979323846264338327950288419716939937511";
const E: &str = "2.71828182845904523536028747135266249775724709369996";

/// A constant, to 50 digits.
pub(super) fn constant(name: &str, calculator: &mut Calculator) -> Option<BigRational> {
    let digits = match name {
        "pi" | "PI" | "π" => PI,
        "e" | "E" => E,
        _ => return None,
    };
    calculator.round_off();
    decimal(digits)
}

/// The value of a function.
pub(super) fn call(name: &str, arguments: &[BigRational], calculator: &mut Calculator) -> Calculated {
    match (name, arguments) {
        ("abs", [a]) => Ok(a.abs()),
        ("sign", [a]) => Ok(a.signum()),
        ("floor", [a]) => Ok(a.floor()),
        ("ceil", [a]) => Ok(a.ceil()),
        ("trunc", [a]) => Ok(a.trunc()),
        ("round", [a]) => Ok(a.round()),
        ("round", [a, digits]) => round(a, digits, calculator),
        ("sqrt", [a]) => calculator.square_root(a),
        ("factorial", [a]) => calculator.factorial(a),
        ("pow", [a, b]) => calculator.power(a, b),
        ("mod", [a, b]) => calculator.remainder(a, b),
        ("gcd", [a, b]) => whole(a, b, calculator).map(|(a, b)| BigRational::from_integer(a.gcd(&b))),
        ("lcm", [a, b]) => {
            let (a, b) = whole(a, b, calculator)?;
            Calculator::bounded(BigRational::from_integer(a.lcm(&b)))
        }
        ("min", [first, rest @ ..]) => outermost(first, rest, Ordering::Less, calculator),
        ("max", [first, rest @ ..]) => outermost(first, rest, Ordering::Greater, calculator),
        ("sum" | "mean", [_, ..]) => {
            let mut sum = BigRational::zero();
            for one in arguments {
                sum = calculator.add(&sum, one)?;
            }
            match name {
                "sum" => Ok(sum),
                _ => calculator.divide(&sum, &BigRational::from_integer(arguments.len().into())),
            }
        }
        (name, _) if NAMES.contains(&name) => {
            let wants = match name {
                "pow" | "mod" | "gcd" | "lcm" => "2 arguments",
                "min" | "max" | "sum" | "mean" => "1 argument or more",
                "round" => "1 argument, and the number of digits",
                _ => "1 argument",
            };
            Err(format!("`{name}` takes {wants}"))
        }
        _ => Err(format!("there is no function `{name}`; there are {}", NAMES.join(", "))),
    }
}

/// The one that is before or behind all others. The library's own comparison recurses as deep as two numbers are alike.
fn outermost(
    first: &BigRational,
    rest: &[BigRational],
    wanted: Ordering,
    calculator: &mut Calculator,
) -> Calculated {
    let mut outermost = first;
    for one in rest {
        calculator.pay(bits(one) + bits(outermost))?;
        let (left, right) = (one.numer() * outermost.denom(), outermost.numer() * one.denom());
        if left.cmp(&right) == wanted {
            outermost = one;
        }
    }
    Ok(outermost.clone())
}

/// Halves go away from zero.
fn round(number: &BigRational, digits: &BigRational, calculator: &mut Calculator) -> Calculated {
    let within = |digits: &i32| digits.abs() <= ROUND_DIGITS_MAX;
    let digits = digits.is_integer().then(|| digits.to_i32().filter(within)).flatten();
    let digits =
        digits.ok_or_else(|| format!("`round` takes at most {ROUND_DIGITS_MAX} digits, a whole number"))?;
    let scale = BigRational::from_integer(10.into()).pow(digits);
    let scaled = calculator.multiply(number, &scale)?.round();
    calculator.divide(&scaled, &scale)
}

fn whole(a: &BigRational, b: &BigRational, calculator: &mut Calculator) -> Result<(BigInt, BigInt), String> {
    if !a.is_integer() || !b.is_integer() {
        return Err("`gcd` and `lcm` take whole numbers".to_owned());
    }
    calculator.pay(a.numer().bits() + b.numer().bits())?;
    Ok((a.to_integer(), b.to_integer()))
}
