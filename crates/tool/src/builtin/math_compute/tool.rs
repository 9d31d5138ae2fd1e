//! The tool: an expression and variables to a value.

use std::collections::BTreeMap;

use num_rational::BigRational;
use serde_json::{Value, json};

use super::arithmetic::{BITS_MAX, Calculator};
use super::function::NAMES as FUNCTIONS;
use super::parse::{Parser, decimal};
use super::show::show;
use crate::BadCall;
use crate::arguments::{Arguments, shown};
use crate::compute::{Computation, Place, Raised};

const EXAMPLE: &str = r#"{"expression": "(a + 2)^3 / 4", "variables": {"a": 1.5}}"#;
const NAMES: [&str; 2] = ["expression", "variables"];

/// The longest expression, in bytes.
const EXPRESSION_BYTES_MAX: usize = 4096;

/// The most variables.
const VARIABLES_MAX: usize = 100;

/// The longest number that is a text, in bytes.
const NUMBER_BYTES_MAX: usize = 1000;

/// The tool. Every step is weighed before it is computed; how deep the library recurses for one is not known, so that a
/// worker does it, whose end is nobody else's.
pub(in crate::builtin) const COMPUTATION: Computation = Computation {
    name: "math_compute",
    summary: "Computes an arithmetic expression exactly: whole numbers of any size and fractions, no rounding errors.",
    schema,
    check,
    compute,
    place: Place::Worker,
};

fn schema() -> Value {
    let functions = FUNCTIONS.join(", ");
    json!({
        "type": "object",
        "required": ["expression"],
        "additionalProperties": false,
        "properties": {
            "expression": {
                "type": "string",
                "maxLength": EXPRESSION_BYTES_MAX,
                "description": format!(
                    "Numbers, variables, + - * / % (the remainder has the divisor's sign), ^ or ** (power, binds first and from \
                     the right), ! (factorial), parentheses, pi, e, and the functions {functions}. Numbers may have \
                     {BITS_MAX} bits. `value` is a number where JSON can hold it, else its digits as text; `exact` is \
                     the whole number or fraction; `decimal` has at most 34 significant digits; `rounded: true` says that \
                     these digits are not all (1/3), or that a root, pi or e was rounded to 50 digits."
                )
            },
            "variables": {
                "type": "object",
                "maxProperties": VARIABLES_MAX,
                "additionalProperties": {"type": ["number", "string"]},
                "description": "Values of the names in the expression: numbers, or their digits as text. 0.1 is exactly a tenth."
            }
        },
        "examples": [{"expression": "(a + 2)^3 / 4", "variables": {"a": 1.5}}]
    })
}

fn check(payload: &Value) -> Result<(), BadCall> {
    let arguments = Arguments::of(payload, &NAMES, EXAMPLE)?;
    arguments.short_text("expression", EXPRESSION_BYTES_MAX)?;
    variables(&arguments).map(|_| ())
}

fn variables(arguments: &Arguments<'_>) -> Result<BTreeMap<String, BigRational>, BadCall> {
    let Some(fields) = arguments.maybe_object("variables")? else { return Ok(BTreeMap::new()) };
    let bad = |rule: &str| arguments.bad("variables", rule);
    if fields.len() > VARIABLES_MAX {
        return Err(bad(&format!("may have {VARIABLES_MAX} members")));
    }
    let read = |(name, value): (&String, &Value)| {
        let mut letters = name.chars();
        let starts = letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
        if !starts || !letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
            return Err(bad("must have names of letters, digits and _ that start with no digit"));
        }
        let text = match value {
            Value::Number(number) => number.to_string(),
            Value::String(text) if text.len() <= NUMBER_BYTES_MAX => text.trim().to_owned(),
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                return Err(bad("must have numbers, or their digits as text"));
            }
        };
        let (sign, digits) = text.strip_prefix('-').map_or((1, text.as_str()), |digits| (-1, digits));
        let number = decimal(digits)
            .ok_or_else(|| bad(&format!("has `{}`, which is no number that can be held", shown(&text))))?;
        Ok((name.clone(), number * BigRational::from_integer(sign.into())))
    };
    fields.iter().map(read).collect()
}

fn compute(payload: &Value) -> Result<Value, Raised> {
    let arguments = Arguments::of(payload, &NAMES, EXAMPLE)?;
    let variables = variables(&arguments)?;
    let mut calculator = Calculator::new();
    let parsed = Parser::new(arguments.text("expression")?, &variables, &mut calculator).value();
    let value = parsed.map_err(|message| Raised::new("MathError", message))?;
    Ok(show(&value, calculator.has_rounded()))
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert_eq, proptest};
    use serde_json::{Value, json};

    use super::{check, compute};

    fn value(expression: &str) -> Value {
        computed(expression)["value"].clone()
    }

    fn computed(expression: &str) -> Value {
        compute(&json!({ "expression": expression })).unwrap()
    }

    fn error(expression: &str) -> String {
        compute(&json!({ "expression": expression })).unwrap_err().message
    }

    #[test]
    fn operators_bind_as_in_mathematics() {
        for (expression, expected) in [
            ("2+3*4", json!(14)),
            ("2^3^2", json!(512)),
            ("-2^2", json!(-4)),
            ("2^-1", json!(0.5)),
            ("2**10", json!(1024)),
            ("(1+2)*(3-4)", json!(-3)),
            ("7 % 3", json!(1)),
            ("-7 % 3", json!(2)),
            ("3!!", json!(720)),
            ("1.5e2 / 3", json!(50)),
            ("10/4", json!(2.5)),
            ("0.1+0.2", json!(0.3)),
            ("6 ÷ 2 × 3 − 1", json!(8)),
            ("sqrt(16) + abs(-2)", json!(6)),
            ("max(1, 2.5, -3)", json!(2.5)),
            ("round(2.345, 2)", json!(2.35)),
            ("round(-2.5)", json!(-3)),
            ("floor(-1.5) + ceil(1.2)", json!(0)),
            ("gcd(12, 18) + lcm(4, 6)", json!(18)),
            ("4^0.5", json!(2)),
            ("0^0", json!(1)),
            ("mean(1, 2, 3, 4)", json!(2.5)),
        ] {
            assert_eq!(value(expression), expected, "{expression}");
        }
    }

    #[test]
    fn results_are_exact_and_say_where_they_are_rounded() {
        let third = computed("1/3");
        let digits = format!("0.{}", "3".repeat(34));
        let expected = json!({"value": 1.0 / 3.0, "exact": "1/3", "decimal": digits, "rounded": true});
        assert_eq!(third, expected);
        assert_eq!(computed("1/3 + 1/3 + 1/3"), json!({"value": 1, "exact": "1"}));
        assert_eq!(value("2^53"), json!("9007199254740992"));
        assert_eq!(value("30!"), json!("265252859812191058636308480000000"));
        assert_eq!(computed("sqrt(2)")["rounded"], true);
        assert_eq!(computed("sqrt(2)").get("exact"), None);
        assert_eq!(computed("sqrt(2)")["decimal"], "1.414213562373095048801688724209698");
        assert_eq!(computed("2*pi")["decimal"], "6.283185307179586476925286766559006");
        assert_eq!(value("1/10^400"), json!("1e-400"));
        assert_eq!(computed("2^60 + 1/3")["value"], "1152921504606846976.333333333333333");
    }

    #[test]
    fn variables_are_read_as_their_digits() {
        let payload = json!({"expression": "a*3 + big", "variables": {"a": 0.1, "big": "-1e3"}});
        assert_eq!(compute(&payload).unwrap()["exact"], "-9997/10");
        for wrong in [json!({"1a": 1}), json!({"a": "x"}), json!({"a": [1]}), json!({"a": "1e99999"})] {
            assert!(check(&json!({"expression": "1", "variables": wrong})).is_err());
        }
        assert!(error("b + 1").contains("`b`"));
    }

    #[test]
    fn what_cannot_be_computed_is_told() {
        for (expression, part) in [
            ("1/0", "division by zero"),
            ("0^-1", "division by zero"),
            ("5 % 0", "division by zero"),
            ("sqrt(-1)", "negative"),
            ("2^0.3", "whole number"),
            ("(-1)!", "whole number"),
            ("1 +", "ends"),
            ("(1", "`)`"),
            ("1 2", "character 3"),
            ("2 $ 3", "`$`"),
            ("sin(1)", "sin"),
            ("sqrt()", "1"),
            ("", "ends"),
            ("1e", "number"),
            ("1..2", "number"),
        ] {
            let told = error(expression);
            assert!(told.contains(part), "{expression}: {told}");
        }
    }

    #[test]
    fn bombs_are_refused_before_they_are_computed() {
        for bomb in [
            "9^9^9^9",
            "10^1000000000000",
            "2^-99999999999999999999",
            "100000!",
            "3!!!!",
            "1e1000000000",
            "(10^4000)*(10^4000)",
            "99999999999999999999!",
            "round(1/3, 10^9)",
            "gcd(1/2, 1)",
            "lcm(10^4000, 10^4000+1)",
        ] {
            assert!(compute(&json!({ "expression": bomb })).is_err(), "{bomb}");
        }
        let nested = format!("{}1{}", "(".repeat(2000), ")".repeat(2000));
        assert!(error(&nested).contains("nested"));
        assert!(error(&"-".repeat(4000)).contains("nested"));
        let long = vec!["1/(10^4000+7)"; 300].join("+");
        assert!(compute(&json!({ "expression": long })).is_err());
    }

    proptest! {
        #[test]
        fn whole_numbers_are_computed_as_the_machine_does(a in -1_000_000_i64..1_000_000, b in -1_000_000_i64..1_000_000) {
            prop_assert_eq!(value(&format!("({a}) + ({b})")), json!(a + b));
            prop_assert_eq!(value(&format!("({a}) * ({b})")), json!(a * b));
            if b != 0 {
                prop_assert_eq!(value(&format!("(({a}) / ({b})) * ({b})")), json!(a));
            }
        }

        #[test]
        fn no_expression_is_a_fault(expression in "[0-9+*/^()!%. a-e,-]{0,40}") {
            if let Ok(result) = compute(&json!({ "expression": expression })) {
                assert!(result["value"].is_number() || result["value"].is_string());
            }
        }
    }
}
