//! `timestamp_parse`: a point in time, however it is written. Time zones come from a table in this program, not from the
//! host.

use std::sync::LazyLock;

use jiff::civil::{Date, DateTime};
use jiff::fmt::{rfc2822, strtime};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, Zoned};
use serde_json::{Number, Value, json};

use crate::BadCall;
use crate::arguments::{Arguments, shown};
use crate::compute::{Computation, Place, Raised};

const EXAMPLE: &str = r#"{"timestamp": "2026-03-01 12:00", "timezone": "Europe/Berlin"}"#;
const NAMES: [&str; 3] = ["timestamp", "format", "timezone"];

/// The longest text of an argument, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// Numbers from here on are milliseconds where no format says otherwise: as seconds they are past the year 5138.
const FIRST_MILLISECONDS: f64 = 100_000_000_000.0;

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The tool.
pub(super) const COMPUTATION: Computation = Computation {
    name: "timestamp_parse",
    summary: "Reads a point in time, and gives it as ISO 8601 and as Unix time.",
    schema,
    check,
    compute,
    place: Place::Thread,
};

fn schema() -> Value {
    json!({
        "type": "object",
        "required": ["timestamp"],
        "additionalProperties": false,
        "properties": {
            "timestamp": {
                "type": ["string", "number"],
                "description": "ISO 8601 or RFC 3339 (2026-03-01T12:00:00Z), a date or a date with a time (2026-03-01 12:00), an RFC \
                                2822 or HTTP date, or Unix time as number or digits: seconds, or milliseconds from \
                                100,000,000,000 on."
            },
            "format": {
                "type": "string",
                "maxLength": TEXT_BYTES_MAX,
                "description": "How it is written, where it is written otherwise: `unix`, `unix_ms`, or strftime (%d/%m/%Y %H:%M)."
            },
            "timezone": {
                "type": "string",
                "maxLength": TEXT_BYTES_MAX,
                "default": "UTC",
                "description": "An IANA name (Europe/Berlin) or an offset (+02:00): where a time without an offset is meant, and in \
                                which `iso` is given."
            }
        },
        "examples": [{"timestamp": "2026-03-01 12:00", "timezone": "Europe/Berlin"}]
    })
}

fn check(payload: &Value) -> Result<(), BadCall> {
    let arguments = Arguments::of(payload, &NAMES, EXAMPLE)?;
    match arguments.any("timestamp")? {
        Value::Number(_) => {}
        Value::String(text) if text.len() <= TEXT_BYTES_MAX => {}
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            return Err(arguments.bad("timestamp", "must be a text or a number"));
        }
    }
    for name in ["format", "timezone"] {
        if arguments.maybe(name).is_some() {
            arguments.short_text(name, TEXT_BYTES_MAX)?;
        }
    }
    zone(&arguments).map(|_| ())
}

fn zone(arguments: &Arguments<'_>) -> Result<TimeZone, BadCall> {
    let Some(name) = arguments.maybe_text("timezone")? else { return Ok(TimeZone::UTC) };
    if matches!(name, "UTC" | "utc" | "Z") {
        return Ok(TimeZone::UTC);
    }
    let fixed = || {
        // A date in that offset, read by the library, has the offset.
        let text = format!("2000-01-01T00:00:00{name}");
        let pieces = jiff::fmt::temporal::Pieces::parse(&text).ok()?;
        pieces.to_numeric_offset().map(TimeZone::fixed)
    };
    let found = if name.starts_with(['+', '-']) { fixed() } else { ZONES.get(name).ok() };
    found.ok_or_else(|| arguments.bad("timezone", "must be an IANA name or an offset such as +02:00"))
}

fn compute(payload: &Value) -> Result<Value, Raised> {
    let arguments = Arguments::of(payload, &NAMES, EXAMPLE)?;
    let zone = zone(&arguments)?;
    let format = arguments.maybe_text("format")?;
    let zoned = match arguments.any("timestamp")? {
        Value::Number(number) => numeric(number, format).map(|at| at.to_zoned(zone)),
        Value::String(text) => textual(text.trim(), format, zone),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            Err("it is no text and no number".to_owned())
        }
    };
    let zoned = zoned.map_err(|message| Raised::new("BadTimestamp", message))?;
    Ok(shown_as(&zoned))
}

fn shown_as(zoned: &Zoned) -> Value {
    let at = zoned.timestamp();
    json!({
        "iso": format!("{}{}", zoned.datetime(), offset(zoned)),
        "unix": at.as_second(),
        "unix_ms": at.as_millisecond(),
        "utc": at.to_string(),
        "timezone": zoned.time_zone().iana_name().map_or_else(|| offset(zoned), str::to_owned),
        "weekday": zoned.strftime("%A").to_string(),
        "day_of_year": zoned.day_of_year(),
        "is_dst": zoned.time_zone().to_offset_info(at).dst().is_dst(),
    })
}

fn offset(zoned: &Zoned) -> String {
    if zoned.offset().is_zero() { "Z".to_owned() } else { zoned.strftime("%:z").to_string() }
}

/// Unix time, in the unit of the format, or of its size.
fn numeric(number: &Number, format: Option<&str>) -> Result<Timestamp, String> {
    let out = |_| "the number is out of range (years -9999 to 9999)".to_owned();
    let is_milliseconds = match format {
        Some("unix_ms") => true,
        Some("unix") => false,
        Some(_) => return Err("a number has the format `unix` or `unix_ms`, or none".to_owned()),
        None => number.as_f64().is_some_and(|number| number.abs() >= FIRST_MILLISECONDS),
    };
    if let Some(whole) = number.as_i64() {
        let milliseconds = if is_milliseconds { Some(whole) } else { whole.checked_mul(1000) };
        return Timestamp::from_millisecond(milliseconds.unwrap_or(i64::MAX)).map_err(out);
    }
    let seconds = number.as_f64().unwrap_or(f64::MAX) / if is_milliseconds { 1000.0 } else { 1.0 };
    let duration = jiff::SignedDuration::try_from_secs_f64(seconds).map_err(out)?;
    Timestamp::from_duration(duration).map_err(out)
}

fn textual(text: &str, format: Option<&str>, zone: TimeZone) -> Result<Zoned, String> {
    match format {
        None | Some("unix" | "unix_ms") => {}
        Some(format) => return by_format(text, format, zone),
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if format.is_some() || (digits.len() > 8 && digits.bytes().all(|byte| byte.is_ascii_digit())) {
        let number: Option<Number> = serde_json::from_str(text.strip_prefix('+').unwrap_or(text)).ok();
        let number = number.ok_or_else(|| format!("`{}` is no number", shown(text)))?;
        return numeric(&number, format).map(|at| at.to_zoned(zone));
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at.to_zoned(zone));
    }
    if let Ok(at) = rfc2822::DateTimeParser::new().parse_timestamp(text) {
        return Ok(at.to_zoned(zone));
    }
    let local = text.parse::<DateTime>().or_else(|_| text.parse::<Date>().map(DateTime::from));
    let local = local.map_err(|_| {
        format!("`{}` is no time in a form that is known; name its `format`, as %d/%m/%Y %H:%M", shown(text))
    })?;
    local.to_zoned(zone).map_err(|error| error.to_string())
}

fn by_format(text: &str, format: &str, zone: TimeZone) -> Result<Zoned, String> {
    let told =
        |error: jiff::Error| format!("`{}` is not written as `{}`: {error}", shown(text), shown(format));
    let parsed = strtime::parse(format, text).map_err(told)?;
    if parsed.offset().is_some() || parsed.timestamp().is_some() {
        return parsed.to_timestamp().map(|at| at.to_zoned(zone)).map_err(told);
    }
    let date = parsed.to_date().map_err(told)?;
    // A format without a time means midnight.
    let local = parsed.to_datetime().unwrap_or_else(|_| DateTime::from(date));
    local.to_zoned(zone).map_err(told)
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert_eq, proptest};
    use serde_json::{Value, json};

    use super::{check, compute};

    fn parsed(payload: &Value) -> Value {
        check(payload).unwrap();
        compute(payload).unwrap()
    }

    fn unix(timestamp: Value) -> Value {
        parsed(&json!({ "timestamp": timestamp }))["unix"].clone()
    }

    #[test]
    fn one_time_is_read_in_every_form() {
        for form in [
            json!("2026-03-01T12:00:00Z"),
            json!("2026-03-01T13:00:00+01:00"),
            json!("2026-03-01 12:00"),
            json!("Sun, 01 Mar 2026 12:00:00 GMT"),
            json!("1772366400"),
            json!(1_772_366_400),
            json!(1_772_366_400_000_i64),
            json!(1_772_366_400.25),
        ] {
            assert_eq!(unix(form.clone()), json!(1_772_366_400), "{form}");
        }
        assert_eq!(unix(json!("2026-03-01")), json!(1_772_323_200));
        assert_eq!(unix(json!(99_999_999_999_i64)), json!(99_999_999_999_i64));
        assert_eq!(unix(json!(100_000_000_000_i64)), json!(100_000_000));
    }

    #[test]
    fn a_zone_says_where_a_time_is_meant_and_shown() {
        let berlin = parsed(&json!({"timestamp": "2026-07-01 12:00", "timezone": "Europe/Berlin"}));
        assert_eq!(berlin["iso"], "2026-07-01T12:00:00+02:00");
        assert_eq!(berlin["utc"], "2026-07-01T10:00:00Z");
        assert_eq!(berlin["timezone"], "Europe/Berlin");
        assert_eq!((&berlin["is_dst"], &berlin["weekday"]), (&json!(true), &json!("Wednesday")));
        let offset = parsed(&json!({"timestamp": 0, "timezone": "-03:30"}));
        assert_eq!(offset["iso"], "1969-12-31T20:30:00-03:30");
        assert_eq!(parsed(&json!({"timestamp": 0}))["iso"], "1970-01-01T00:00:00Z");
    }

    #[test]
    fn a_format_reads_what_is_written_otherwise() {
        let read = |timestamp: &str, format: &str| {
            parsed(&json!({"timestamp": timestamp, "format": format}))["utc"].clone()
        };
        assert_eq!(read("01/03/2026 12:30", "%d/%m/%Y %H:%M"), "2026-03-01T12:30:00Z");
        assert_eq!(read("03-01-26", "%m-%d-%y"), "2026-03-01T00:00:00Z");
        assert_eq!(read("2026-03-01 12:00 +0100", "%Y-%m-%d %H:%M %z"), "2026-03-01T11:00:00Z");
        assert_eq!(read("1500", "unix_ms"), "1970-01-01T00:00:01.5Z");
    }

    #[test]
    fn what_is_no_time_is_told() {
        for (timestamp, format) in [
            (json!("soon"), None),
            (json!("2026-13-01"), None),
            (json!("x"), Some("%Y")),
            (json!(1e30), None),
        ] {
            let told = compute(&json!({"timestamp": timestamp, "format": format})).unwrap_err();
            assert_eq!(told.name, "BadTimestamp");
        }
        let zone = check(&json!({"timestamp": 0, "timezone": "Mars/Olympus"})).unwrap_err();
        assert_eq!(zone.pointer, "/timezone");
        assert!(check(&json!({"timestamp": 0, "timezone": "/etc/passwd"})).is_err());
        assert!(check(&json!({"timestamp": true})).is_err());
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_as_the_same(second in -60_000_000_000_i64..60_000_000_000) {
            let shown = parsed(&json!({"timestamp": second, "timezone": "America/New_York"}));
            prop_assert_eq!(&shown["unix"], &json!(second));
            prop_assert_eq!(unix(shown["utc"].clone()), json!(second));
        }

        #[test]
        fn no_text_is_a_fault(text in ".{0,40}", format in "[%a-zA-Z:/ -]{0,12}") {
            drop(compute(&json!({"timestamp": text, "format": format})));
        }
    }
}
