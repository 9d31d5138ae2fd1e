//! A jq filter over a value. It sees its input and nothing else: no file, module, variable of the environment, clock or
//! further input. It may loop for ever and take all memory, so that only a worker may run it.

use jaq_core::load::{Arena, Error as LoadError, File, Loader};
use jaq_core::native::{Fun, bome, run as run_native};
use jaq_core::{Compiler, Ctx, DataT, Error as CoreError, Filter, Vars, data};
use jaq_json::{Num, Val};
use serde_json::{Map, Number, Value};

use crate::arguments::shown;
use crate::compute::Raised;
use crate::guest_json::{NESTING_MAX, exact};

/// The most outputs of a filter.
const OUTPUTS_MAX: usize = 100_000;

/// The values in all outputs, those inside of others included.
const VALUES_MAX: usize = 1_000_000;

/// Functions of the library that look outside.
const OUTSIDE: [&str; 2] = ["env", "now"];

/// What a filter runs over.
type Data = data::JustLut<Val>;

fn raised(message: impl Into<String>) -> Raised {
    Raised::new("FilterError", message)
}

/// Every output of a filter.
pub(super) fn run(filter: &str, input: &Value) -> Result<Vec<Value>, Raised> {
    let compiled = compile(filter)?;
    let text = input.to_string();
    let input = jaq_json::read::parse_single(text.as_bytes())
        .map_err(|_| raised("the data could not be handed to the filter"))?;
    let context = Ctx::<Data>::new(&compiled.lut, Vars::new([]));
    let mut outputs = Vec::new();
    let mut values_left = VALUES_MAX;
    for output in compiled.id.run((context, input)) {
        let output = output.map_err(|exception| match exception.get_err() {
            Ok(error) => raised(format!("the filter failed: {}", shown(&error.to_string()))),
            Err(_) => raised("the filter halted; let it end by itself"),
        })?;
        if outputs.len() == OUTPUTS_MAX {
            return Err(raised(format!("the filter has more than {OUTPUTS_MAX} outputs; use `limit(n; …)`")));
        }
        outputs.push(plain(&output, NESTING_MAX, &mut values_left)?);
    }
    Ok(outputs)
}

fn compile(filter: &str) -> Result<Filter<Data>, Raised> {
    let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let functions = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs()).map(inward);
    let arena = Arena::default();
    let modules = Loader::new(definitions).load(&arena, File { code: filter, path: () });
    let modules = modules.map_err(|errors| {
        let told = errors.first().map(|(_, error)| match error {
            LoadError::Io(_) => "modules cannot be loaded".to_owned(),
            LoadError::Lex(errors) => errors.first().map_or_else(String::new, |(wanted, found)| {
                format!("expected {} at `{}`", wanted.as_str(), shown(found))
            }),
            LoadError::Parse(errors) => errors.first().map_or_else(String::new, |(wanted, found)| {
                format!("expected {} at `{}`", wanted.as_str(), shown(found))
            }),
        });
        raised(format!("`{}` is no jq filter: {}", shown(filter), told.unwrap_or_default()))
    })?;
    Compiler::default().with_funs(functions).compile(modules).map_err(|errors| {
        let first = errors.first().and_then(|(_, errors)| errors.first());
        let told = first.map(|(name, kind)| format!("there is no {} `{}`", kind.as_str(), shown(name)));
        raised(format!("`{}` is no jq filter: {}", shown(filter), told.unwrap_or_default()))
    })
}

/// The same function, unless it looks outside.
fn inward<D: for<'a> DataT<V<'a> = Val>>((name, arguments, native): Fun<D>) -> Fun<D> {
    if !OUTSIDE.contains(&name) {
        return (name, arguments, native);
    }
    run_native((name, arguments, |_| {
        bome(Err(CoreError::str("a filter sees its data alone: no environment and no clock")))
    }))
}

/// A value of the library as JSON that a receipt can digest.
fn plain(value: &Val, levels_left: usize, values_left: &mut usize) -> Result<Value, Raised> {
    *values_left = values_left
        .checked_sub(1)
        .ok_or_else(|| raised(format!("the outputs have more than {VALUES_MAX} values; ask for less")))?;
    let deeper = || {
        let left = levels_left.checked_sub(1).filter(|left| *left > 0);
        left.ok_or_else(|| raised(format!("an output is nested more than {NESTING_MAX} levels deep")))
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(match value {
        Val::Null => Value::Null,
        Val::Bool(truth) => (*truth).into(),
        Val::Num(number) => plain_number(number),
        Val::BStr(bytes) | Val::TStr(bytes) => text(bytes).into(),
        Val::Arr(items) => {
            let left = deeper()?;
            items.iter().map(|item| plain(item, left, values_left)).collect::<Result<Vec<_>, _>>()?.into()
        }
        Val::Obj(fields) => {
            let left = deeper()?;
            let mut members = Map::new();
            for (key, field) in fields.iter() {
                let key = match key {
                    Val::BStr(bytes) | Val::TStr(bytes) => text(bytes),
                    Val::Null | Val::Bool(_) | Val::Num(_) | Val::Arr(_) | Val::Obj(_) => {
                        return Err(raised("an output has a key that is no text"));
                    }
                };
                members.insert(key, plain(field, left, values_left)?);
            }
            Value::Object(members)
        }
    })
}

fn plain_number(number: &Num) -> Value {
    match number {
        Num::Int(integer) => match i64::try_from(*integer) {
            Ok(integer) => exact(integer.into()),
            Err(_) => integer.to_string().into(),
        },
        Num::BigInt(integer) => integer.to_string().into(),
        // JSON has no word for what is not finite; jq writes null for what is no number.
        Num::Float(double) => Number::from_f64(*double).map_or(Value::Null, exact),
        Num::Dec(digits) => {
            let double = digits.parse().ok().and_then(Number::from_f64);
            double.map_or_else(|| digits.as_str().into(), exact)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::run;

    fn outputs(filter: &str, input: &Value) -> Value {
        run(filter, input).unwrap().into()
    }

    #[test]
    fn a_filter_has_the_outputs_that_jq_gives() {
        let people = json!([{"name": "ada", "age": 36}, {"name": "bob", "age": 20}]);
        assert_eq!(outputs(".[] | select(.age > 30) | .name", &people), json!(["ada"]));
        assert_eq!(outputs("map(.age) | add", &people), json!([56]));
        assert_eq!(outputs("[.[] | {(.name): .age}] | add", &people), json!([{"ada": 36, "bob": 20}]));
        assert_eq!(outputs("group_by(.age > 30) | length", &people), json!([2]));
        assert_eq!(
            outputs("\"2026-03-01T12:00:00Z\" | fromdateiso8601", &json!(null)),
            json!([1_772_366_400])
        );
        assert_eq!(
            outputs("\"a1b22\" | [match(\"[0-9]+\"; \"g\").string]", &json!(null)),
            json!([["1", "22"]])
        );
        assert_eq!(outputs("@base64", &json!("hi")), json!(["aGk="]));
        assert_eq!(outputs("[limit(3; repeat(1))]", &json!(null)), json!([[1, 1, 1]]));
    }

    #[test]
    fn numbers_are_as_readers_hold_them() {
        assert_eq!(outputs(".", &json!([1, 2.5, 1e300])), json!([[1, 2.5, "1e+300"]]));
        assert_eq!(
            outputs("9007199254740993, 99999999999999999999", &json!(null)),
            json!(["9007199254740993", "99999999999999999999"])
        );
        assert_eq!(outputs("nan, infinite", &json!(null)), json!([null, null]));
    }

    #[test]
    fn nothing_outside_can_be_seen() {
        for filter in [
            "env",
            "env.PATH",
            "$ENV",
            "$ENV.PATH",
            "now",
            "input",
            "[inputs]",
            "input_filename",
            "import \"a\" as a; .",
            "include \"/etc/passwd\"; .",
            "halt",
            "halt_error",
            "get_search_list",
            "$__prog_args",
            "input_line_number",
        ] {
            assert!(run(filter, &json!(null)).is_err(), "{filter}");
        }
        // What is written for people goes nowhere.
        assert_eq!(outputs("debug, stderr", &json!(1)), json!([1, 1]));
    }

    #[test]
    fn what_is_no_filter_is_told() {
        for (filter, part) in [
            (".[", "expected"),
            ("nope", "no filter `nope`"),
            (". |", "expected"),
            ("\"a", "quote"),
            ("$x", "variable"),
        ] {
            let told = run(filter, &json!(null)).unwrap_err();
            assert_eq!(told.name, "FilterError");
            assert!(told.message.contains(part), "{filter}: {}", told.message);
        }
        let told = run(".a", &json!([1])).unwrap_err();
        assert!(told.message.starts_with("the filter failed"), "{}", told.message);
    }

    #[test]
    fn outputs_are_bounded_in_number_and_depth() {
        assert!(run("range(1e18)", &json!(null)).unwrap_err().message.contains("100000 outputs"));
        assert!(run("reduce range(100) as $i (0; [.])", &json!(null)).unwrap_err().message.contains("deep"));
        assert!(run("range(200) | [range(10000)]", &json!(null)).unwrap_err().message.contains("values"));
    }
}
