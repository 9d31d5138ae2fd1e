//! Comma-separated values (RFC 4180) that a spreadsheet takes for nothing else: every field is quoted, and what it would
//! compute stands behind an apostrophe.

use crate::plain;

use super::book::Payment;

/// The names of the columns.
pub(super) const HEADER: [&str; 12] = [
    "place",
    "at",
    "day",
    "run",
    "action",
    "rail",
    "network",
    "payer",
    "amount",
    "currency",
    "reference",
    "credit",
];

/// With what a field begins that a spreadsheet computes.
const COMPUTED: [char; 4] = ['=', '+', '-', '@'];

/// A line of fields.
pub(super) fn line<'f>(fields: impl IntoIterator<Item = &'f str>) -> String {
    let fields: Vec<String> = fields.into_iter().map(field).collect();
    fields.join(",") + "\r\n"
}

/// A payment.
pub(super) fn payment(payment: &Payment) -> String {
    let (place, amount) = (payment.place.to_string(), payment.amount.to_string());
    let day = payment.at.as_ref().map_or("", |_| payment.day());
    line([
        place.as_str(),
        payment.at.as_deref().unwrap_or_default(),
        day,
        &payment.run,
        payment.sold().unwrap_or_default(),
        &payment.rail,
        &payment.network,
        &payment.payer,
        &amount,
        "USD",
        payment.reference.as_deref().unwrap_or_default(),
        if payment.is_credit { "true" } else { "false" },
    ])
}

/// A field. What nobody sees, or a terminal obeys, stands by its number.
fn field(text: &str) -> String {
    let plain = plain::line(text).replace('"', "\"\"");
    let guard = if plain.starts_with(COMPUTED) { "'" } else { "" };
    format!("\"{guard}{plain}\"")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, proptest};

    use super::line;

    /// A line as a spreadsheet reads it.
    fn read(line: &str) -> Vec<String> {
        let (mut fields, mut is_quoted) = (vec![String::new()], false);
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '"' if is_quoted && chars.next_if_eq(&'"').is_some() => fields.last_mut().unwrap().push('"'),
                '"' => is_quoted = !is_quoted,
                ',' if !is_quoted => fields.push(String::new()),
                c => fields.last_mut().unwrap().push(c),
            }
        }
        assert!(!is_quoted, "{line}");
        fields
    }

    #[test]
    fn nothing_is_computed_and_nothing_leaves_its_field() {
        let told = line(["0.05", "=1+1", "@SUM(A1)", "-2", "+3", "a\"b,c", "\t=1", "x\r\ny", ""]);
        let wanted = "\"0.05\",\"'=1+1\",\"'@SUM(A1)\",\"'-2\",\"'+3\",\"a\"\"b,c\",\"\\u0009=1\",\"x\\u000d\\u000ay\",\"\"\r\n";
        assert_eq!(told, wanted);
    }

    proptest! {
        #[test]
        fn a_line_is_one_line_of_so_many_fields(fields in prop::collection::vec(any::<String>(), 1..5)) {
            let told = line(fields.iter().map(String::as_str));
            let body = told.strip_suffix("\r\n").unwrap();
            prop_assert!(!body.contains(['\r', '\n', '\t', '\0']));
            let parts = read(body);
            prop_assert!(parts.len() == fields.len(), "{told}");
            prop_assert!(parts.iter().all(|part| !part.starts_with(['=', '+', '-', '@'])));
        }
    }
}
