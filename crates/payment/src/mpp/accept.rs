//! `Accept-Payment`: how a client would like to pay. What cannot be read is passed over, as the draft allows.

/// The longest value that is read, in bytes.
const MAX_VALUE_BYTES: usize = 4 * 1024;

/// How many ranges one value may have.
const MAX_RANGES: usize = 64;

/// The whole of a quality value.
const WHOLE: u16 = 1000;

/// The most digits behind the point of a quality value (RFC 9110, 12.4.2).
const MAX_DECIMALS: usize = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    method: String,
    intent: String,
    quality: u16,
}

impl Range {
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (method, intent) = parts.next()?.split_once('/')?;
        let (method, intent) = (method.trim(), intent.trim());
        let mut quality = WHOLE;
        for part in parts.filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=')?;
            if name.trim().eq_ignore_ascii_case("q") {
                quality = quality_of(value.trim())?;
            }
        }
        let is_good = is_name(method) && is_name(intent);
        is_good.then(|| Self { method: method.to_owned(), intent: intent.to_owned(), quality })
    }

    /// How narrowly it fits, where it does.
    fn fit(&self, method: &str, intent: &str) -> Option<usize> {
        let fits = |wanted: &str, is: &str| wanted == "*" || wanted == is;
        (fits(&self.method, method) && fits(&self.intent, intent))
            .then(|| usize::from(self.method != "*") + usize::from(self.intent != "*"))
    }
}

/// What a client would like to pay with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preferences(Vec<Range>);

impl Preferences {
    /// The preferences of a value. One that is not of the form is as none.
    #[must_use]
    pub fn read(value: &str) -> Self {
        if value.len() > MAX_VALUE_BYTES || value.split(',').count() > MAX_RANGES {
            return Self::default();
        }
        let ranges = value.split(',').map(str::trim).filter(|range| !range.is_empty()).map(Range::read);
        Self(ranges.collect::<Option<_>>().unwrap_or_default())
    }

    /// How much one method and intent are wanted, in thousandths; nothing where they are not. Who says nothing takes all.
    #[must_use]
    pub fn quality(&self, method: &str, intent: &str) -> u16 {
        if self.0.is_empty() {
            return WHOLE;
        }
        let fits = self.0.iter().filter_map(|range| Some((range.fit(method, intent)?, range.quality)));
        fits.max().map_or(0, |(_, quality)| quality)
    }

    /// What is offered, in the order in which the client would like to see it. Where nothing of it is wanted it stays as
    /// it was: a 402 always says how to pay.
    pub fn order<T>(&self, offers: &mut Vec<T>, named: impl Fn(&T) -> (&str, &str)) {
        let quality = |offer: &T| {
            let (method, intent) = named(offer);
            self.quality(method, intent)
        };
        if offers.iter().any(|offer| quality(offer) > 0) {
            offers.retain(|offer| quality(offer) > 0);
            offers.sort_by_key(|offer| WHOLE - quality(offer));
        }
    }
}

fn is_name(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, ':' | '_' | '-');
    text == "*" || (!text.is_empty() && text.chars().all(is_part))
}

/// `0`, `1`, and up to three decimals, at most 1.
fn quality_of(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if !matches!(whole, "0" | "1") || decimals.len() > MAX_DECIMALS {
        return None;
    }
    let padded = format!("{whole}{decimals:0<MAX_DECIMALS$}");
    let is_digits = padded.chars().all(|c| c.is_ascii_digit());
    is_digits.then(|| padded.parse().ok()).flatten().filter(|quality| *quality <= WHOLE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::Preferences;

    fn ordered(value: &str) -> Vec<(&'static str, &'static str)> {
        let mut offers =
            vec![("evm", "charge"), ("stripe", "charge"), ("tempo", "session"), ("tempo", "charge")];
        Preferences::read(value).order(&mut offers, |offer| *offer);
        offers
    }

    #[test]
    fn offers_come_in_the_order_that_is_wanted() {
        let (evm, stripe) = (("evm", "charge"), ("stripe", "charge"));
        let (session, tempo) = (("tempo", "session"), ("tempo", "charge"));
        let all = vec![evm, stripe, session, tempo];
        assert_eq!(ordered("tempo/charge, evm/charge;q=0.8, */session;q=0"), [tempo, evm]);
        assert_eq!(ordered("*/*;q=0.5, stripe/*;q=0.6, tempo/session"), [session, stripe, evm, tempo]);
        assert_eq!(ordered("*/charge, evm/charge;q=0"), [stripe, tempo]);
        for nothing in ["", "hedera/charge", "evm", "evm/charge;q=2", "evm/charge;q=0.1234", "EVM/charge"] {
            assert_eq!(ordered(nothing), all, "{nothing}");
        }
        assert_eq!(ordered(&"evm/charge, ".repeat(65)), all);
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader_and_no_402_is_without_an_offer(text in any::<String>()) {
            prop_assert!(!ordered(&text).is_empty());
        }
    }
}
