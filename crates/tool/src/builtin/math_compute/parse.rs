//! Reads an expression and computes it while it reads, by precedence: sum, product, sign, power, factorial, atom.

use std::collections::BTreeMap;

use num_bigint::BigInt;
use num_rational::BigRational;

use super::arithmetic::{BITS_MAX, Calculated, Calculator};
use super::function::{call, constant};

/// How deeply an expression may be nested.
const NESTING_MAX: usize = 100;

/// The largest exponent of a number's digits; with its digits it stays within what is computed.
const EXPONENT_MAX: u32 = 4_000;

/// The most arguments of a function.
const ARGUMENTS_MAX: usize = 500;

/// Reads one expression.
pub(super) struct Parser<'a> {
    letters: Vec<char>,
    at: usize,
    depth: usize,
    variables: &'a BTreeMap<String, BigRational>,
    calculator: &'a mut Calculator,
}

impl<'a> Parser<'a> {
    pub(super) fn new(
        text: &str,
        variables: &'a BTreeMap<String, BigRational>,
        calculator: &'a mut Calculator,
    ) -> Self {
        Self { letters: text.chars().collect(), at: 0, depth: 0, variables, calculator }
    }

    /// The value of all of it.
    pub(super) fn value(mut self) -> Calculated {
        let value = self.sum()?;
        match self.peek() {
            None => Ok(value),
            Some(letter) => Err(format!("`{letter}` is not expected at character {}", self.at + 1)),
        }
    }

    /// The next letter that is no blank.
    fn peek(&mut self) -> Option<char> {
        while self.letters.get(self.at).is_some_and(|letter| letter.is_whitespace()) {
            self.at += 1;
        }
        self.letters.get(self.at).copied()
    }

    /// Takes one of some letters.
    fn take(&mut self, wanted: &[char]) -> Option<char> {
        let letter = self.peek().filter(|letter| wanted.contains(letter))?;
        self.at += 1;
        Some(letter)
    }

    fn deeper(&mut self, read: impl FnOnce(&mut Self) -> Calculated) -> Calculated {
        self.depth += 1;
        if self.depth > NESTING_MAX {
            return Err(format!("the expression is nested more than {NESTING_MAX} levels deep"));
        }
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn sum(&mut self) -> Calculated {
        let mut value = self.product()?;
        while let Some(operator) = self.take(&['+', '-', '−']) {
            let next = self.product()?;
            value = match operator {
                '+' => self.calculator.add(&value, &next)?,
                _ => self.calculator.subtract(&value, &next)?,
            };
        }
        Ok(value)
    }

    fn product(&mut self) -> Calculated {
        let mut value = self.signed()?;
        while let Some(operator) = self.take(&['*', '×', '·', '/', '÷', '%']) {
            let next = self.signed()?;
            value = match operator {
                '/' | '÷' => self.calculator.divide(&value, &next)?,
                '%' => self.calculator.remainder(&value, &next)?,
                _ => self.calculator.multiply(&value, &next)?,
            };
        }
        Ok(value)
    }

    fn signed(&mut self) -> Calculated {
        match self.take(&['+', '-', '−']) {
            Some('+') => self.deeper(Self::signed),
            Some(_) => self.deeper(Self::signed).map(|value| -value),
            None => self.power(),
        }
    }

    fn power(&mut self) -> Calculated {
        let base = self.postfix()?;
        if !self.takes_power() {
            return Ok(base);
        }
        let exponent = self.deeper(Self::signed)?;
        self.calculator.power(&base, &exponent)
    }

    fn takes_power(&mut self) -> bool {
        if self.take(&['^']).is_some() {
            return true;
        }
        let is_double = self.peek() == Some('*') && self.letters.get(self.at + 1) == Some(&'*');
        if is_double {
            self.at += 2;
        }
        is_double
    }

    fn postfix(&mut self) -> Calculated {
        let mut value = self.atom()?;
        while self.take(&['!']).is_some() {
            value = self.calculator.factorial(&value)?;
        }
        Ok(value)
    }

    fn atom(&mut self) -> Calculated {
        match self.peek() {
            None => Err("the expression ends where a number is expected".to_owned()),
            Some('(') => {
                self.at += 1;
                let value = self.deeper(Self::sum)?;
                self.close()?;
                Ok(value)
            }
            Some(letter) if letter.is_ascii_digit() || letter == '.' => self.number(),
            Some(letter) if letter.is_alphabetic() || letter == '_' => self.named(),
            Some(letter) => Err(format!("`{letter}` at character {} is no number and no name", self.at + 1)),
        }
    }

    fn close(&mut self) -> Result<(), String> {
        let found = self.take(&[')']);
        found.map(|_| ()).ok_or_else(|| format!("a `)` is missing at character {}", self.at + 1))
    }

    fn number(&mut self) -> Calculated {
        let start = self.at;
        let digits = |parser: &mut Self| {
            while parser.letters.get(parser.at).is_some_and(|one| one.is_ascii_digit() || *one == '.') {
                parser.at += 1;
            }
        };
        digits(self);
        // An `e` is an exponent only where digits follow it; `2e` would read as a name otherwise.
        if matches!(self.letters.get(self.at), Some('e' | 'E')) {
            self.at += 1;
            if matches!(self.letters.get(self.at), Some('+' | '-')) {
                self.at += 1;
            }
            digits(self);
        }
        let text: String = self.letters[start..self.at].iter().collect();
        decimal(&text)
            .ok_or_else(|| format!("`{text}` at character {} is no number that can be held", start + 1))
    }

    fn named(&mut self) -> Calculated {
        let start = self.at;
        while self.letters.get(self.at).is_some_and(|one| one.is_alphanumeric() || *one == '_') {
            self.at += 1;
        }
        let name: String = self.letters[start..self.at].iter().collect();
        if self.take(&['(']).is_none() {
            if let Some(value) = self.variables.get(&name) {
                return Ok(value.clone());
            }
            let value = constant(&name, self.calculator);
            return value.ok_or_else(|| format!("`{name}` has no value; give it in `variables`"));
        }
        let mut arguments = Vec::new();
        if self.take(&[')']).is_none() {
            loop {
                arguments.push(self.deeper(Self::sum)?);
                if arguments.len() > ARGUMENTS_MAX {
                    return Err(format!("a function takes at most {ARGUMENTS_MAX} arguments"));
                }
                if self.take(&[',']).is_none() {
                    break;
                }
            }
            self.close()?;
        }
        call(&name, &arguments, self.calculator)
    }
}

/// The number that a text of digits is, exactly: `12`, `1.5`, `.5`, `2e-3`; `None` for another text, or one that is too
/// large to be computed with.
pub(super) fn decimal(text: &str) -> Option<BigRational> {
    let (digits, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(a, b)| (a, Some(b)));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(part) || whole.len() + part.len() == 0 {
        return None;
    }
    let (negative, size) = match exponent {
        None => (false, 0),
        Some(text) => {
            let (negative, text) = match text.strip_prefix('-') {
                Some(rest) => (true, rest),
                None => (false, text.strip_prefix('+').unwrap_or(text)),
            };
            let size = Some(text).filter(|text| is_digits(text)).and_then(|text| text.parse::<u32>().ok())?;
            (negative, size)
        }
    };
    if size > EXPONENT_MAX {
        return None;
    }
    let ten = || BigInt::from(10);
    let number: BigInt = format!("{whole}{part}").parse().ok()?;
    let shrink = ten().pow(u32::try_from(part.len()).ok()?);
    let (numerator, denominator) =
        if negative { (number, shrink * ten().pow(size)) } else { (number * ten().pow(size), shrink) };
    let value = BigRational::new(numerator, denominator);
    (value.numer().bits().max(value.denom().bits()) <= BITS_MAX).then_some(value)
}
