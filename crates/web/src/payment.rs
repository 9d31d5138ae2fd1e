//! Payments at the door: which rail's credential a request shows, what a 402 offers, and what an answer tells.
//!
//! Nothing is verified here. Every change here needs a second reader.

use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, HOST};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use execgate_flow::pay::Bought;
use execgate_flow::propose::lives_at_least_s;
use execgate_model::{Amount, Credential, Resource, RunId, Surface};
use execgate_payment::mpp::{Price, payment_info};
use execgate_payment::{Asked, Flow, Header, Offer};
use serde_json::{Value, from_str};

use crate::body_seen;
use crate::figures::Service;
use crate::house::House;
use crate::http::catalogue::offers::{LISTED, Listed};
use crate::problem::{PriceTag, Problem};

/// The longest credential that is read, in bytes: that of a wallet has about one thousand.
pub(crate) const CREDENTIAL_MAX: usize = 16 << 10;

/// The rail of x402.
pub(crate) const X402: &str = "x402";

/// The rail of the scheme `Payment`.
const MPP: &str = "mpp";

/// Where a credential stands that has a header of its own, and its rail.
const HEADERS: [(&str, &str); 3] =
    [("payment-signature", X402), ("x-payment", X402), ("payment-authorization", MPP)];

/// The schemes of `Authorization` that carry one, and its rail.
const SCHEMES: [(&str, &str); 2] = [("payment", MPP), ("x402", X402)];

/// How a client would like to pay.
pub(crate) const ACCEPT_PAYMENT: &str = "accept-payment";

/// Whether a value of `Authorization` is a payment, and says nothing of who asks.
pub(crate) fn is_payment(value: &HeaderValue) -> bool {
    of_scheme(value).is_some()
}

/// The rail of a value of `Authorization`, and what follows its scheme.
fn of_scheme(value: &HeaderValue) -> Option<(&'static str, &str)> {
    let (scheme, rest) = value.to_str().ok()?.trim_start().split_once(' ')?;
    let (_, rail) = SCHEMES.iter().find(|(name, _)| scheme.eq_ignore_ascii_case(name))?;
    Some((rail, rest.trim()))
}

/// Whether a request shows any payment, read or not.
pub(crate) fn shows_one(headers: &HeaderMap) -> bool {
    HEADERS.iter().any(|(name, _)| headers.contains_key(*name))
        || headers.get_all(AUTHORIZATION).iter().any(is_payment)
}

/// The payment that a request shows for a service; none where nobody is paid here. One at the most: which of two was meant
/// nobody can tell.
pub(crate) fn credential(
    house: &House,
    service: Service,
    headers: &HeaderMap,
) -> Result<Option<Credential>, Problem> {
    if !house.takes_money() {
        return Ok(None);
    }
    let refused = |detail: &'static str| Problem::bad_request("bad-payment", detail);
    let mut shown = Vec::new();
    for (name, rail) in HEADERS {
        for value in headers.get_all(name) {
            let text = value.to_str().map_err(|_| refused("the payment has bytes that are no text"))?;
            // Its own header has the value of `Authorization`, scheme and all.
            let text = if rail == MPP { of_scheme(value).map_or(text, |(_, rest)| rest) } else { text };
            shown.push((rail, text.trim()));
        }
    }
    shown.extend(headers.get_all(AUTHORIZATION).iter().filter_map(of_scheme));
    let (rail, text) = match shown.as_slice() {
        [] => return Ok(None),
        [one] => *one,
        _ => return Err(refused("one payment at a time: one header, once")),
    };
    if text.len() > CREDENTIAL_MAX {
        return Err(refused("the payment is longer than 16 KiB"));
    }
    let resource = house.resource(service, headers);
    Ok(Some(Credential { rail: rail.to_owned(), bytes: text.as_bytes().to_vec(), resource }))
}

impl House {
    /// Whether anybody can pay here.
    pub(crate) fn takes_money(&self) -> bool {
        self.parts.corridor.rails().take_money() && self.parts.corridor.prices().charge()
    }

    /// What a service is, in the words of an offer: under the operator's URL, or the name that the caller knows.
    pub(crate) fn resource(&self, service: Service, headers: &HeaderMap) -> Resource {
        let host = || headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        let origin = self.parts.public_url.clone().unwrap_or_else(|| format!("http://{}", host()));
        Resource {
            url: format!("{origin}{}", service.path()),
            description: service.description().to_owned(),
            mime: "application/json".to_owned(),
            method: "POST".to_owned(),
            body_digest: body_seen::digest(),
            example: service.example(),
        }
    }

    /// How to pay what a problem asks for.
    pub(crate) fn offers(&self, tag: &PriceTag, service: Service, headers: &HeaderMap) -> Vec<Offer> {
        let asked = Asked {
            amount: tag.price,
            flow: tag.flow,
            lives_at_least_s: service.lives_at_least_s(),
            refused: tag.refused.clone(),
            accepts: headers.get(ACCEPT_PAYMENT).and_then(|value| value.to_str().ok()).map(str::to_owned),
        };
        self.parts.corridor.rails().offers(&asked, &self.resource(service, headers))
    }

    /// How the payment of a run stands, for a caller who is told that it has not ended.
    pub(crate) async fn bought(&self, run: RunId) -> Option<Box<Bought>> {
        // What cannot be read now is not told; the refusal stands by itself.
        Bought::of(&self.parts.store.run(run).await.ok().flatten()?)
    }

    /// What the description of this gateway says of the price of a service (`x-payment-info`); none where it costs nothing,
    /// or is not paid by challenge.
    pub(crate) fn payment_info(&self, service: Service, price: Amount) -> Option<Value> {
        // A challenge asks for all of a price.
        let is_metered =
            matches!(service, Service::Code(offer) if self.parts.corridor.prices().meters(offer));
        if price.is_zero() || is_metered || !self.takes_money() {
            return None;
        }
        let asked = Asked {
            amount: price,
            flow: Flow::Authorization,
            lives_at_least_s: service.lives_at_least_s(),
            refused: None,
            accepts: None,
        };
        let offers = self.parts.corridor.rails().offers(&asked, &self.resource(service, &HeaderMap::new()));
        let kind = if matches!(service, Service::Code(_)) { Price::Fixed } else { Price::Varies };
        payment_info(&offers, kind)
    }

    /// Tells in the headers of an answer how its payment has ended. What was paid for is for its payer alone.
    pub(crate) fn tell(&self, bought: &Bought, headers: &mut HeaderMap) {
        for header in bought.told(self.parts.corridor.rails()) {
            append(headers, &header);
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    }
}

impl Service {
    /// The service of a path.
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.path() == path)
    }

    /// For how long an authorization has to live that pays for it, in seconds.
    fn lives_at_least_s(self) -> u64 {
        match self {
            Self::Execute => lives_at_least_s(Surface::Execute, None),
            Self::Code(offer) => lives_at_least_s(Surface::CodeRun, Some(offer)),
            Self::Tool | Self::Simulate | Self::Batch => lives_at_least_s(Surface::SecureExec, None),
        }
    }

    fn listed(self) -> Option<&'static Listed> {
        LISTED.iter().find(|listed| listed.service == self)
    }

    /// What it is, in a sentence.
    fn description(self) -> &'static str {
        self.listed().map_or("", |listed| listed.description)
    }

    /// A body that it takes.
    fn example(self) -> Value {
        self.listed().and_then(|listed| from_str(listed.example).ok()).unwrap_or_default()
    }
}

/// Adds a header that a rail has made; one that cannot be written is left out.
pub(crate) fn append(headers: &mut HeaderMap, header: &Header) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(header.name), HeaderValue::from_str(&header.value)) {
        headers.append(name, value);
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::{is_payment, of_scheme};

    #[test]
    fn a_payment_is_told_from_whoever_asks_by_its_scheme() {
        let value = |text: &'static str| HeaderValue::from_static(text);
        assert_eq!(of_scheme(&value("Payment abc")), Some(("mpp", "abc")));
        assert_eq!(of_scheme(&value("X402  abc ")), Some(("x402", "abc")));
        for text in ["Bearer eg_1", "Payment", "", "Payments abc"] {
            assert!(!is_payment(&value(text)), "{text}");
        }
    }
}
