//! The offers as every page shows them: one list, one price.

use execgate_model::{ActionName, Amount, Effect, Offer};
use serde_json::{Value, json};

use crate::figures::Service;
use crate::house::{House, ToolSurface};
use crate::http::code::is_on;

/// One offer of this gateway.
pub(crate) struct Listed {
    pub(crate) service: Service,
    pub(super) name: &'static str,
    pub(crate) description: &'static str,
    /// The usual price in US dollars (CONTRACTS 4), whatever is asked here.
    pub(super) list_price: &'static str,
    pub(crate) example: &'static str,
}

/// Every offer.
pub(crate) const LISTED: [Listed; 7] = [
    Listed {
        service: Service::Code(Offer::CodeRun),
        name: "Run code",
        description: "Runs Python, JavaScript, bash or R in a fresh jail: 30 s, 10,000 characters, 256 KiB of output.",
        list_price: "0.02",
        example: r#"{"code": "print(2 + 2)", "language": "python"}"#,
    },
    Listed {
        service: Service::Code(Offer::CodeRunPro),
        name: "Run code, larger",
        description: "The same with 60 s, 50,000 characters, 1 MiB of output and 1 GiB of memory.",
        list_price: "0.05",
        example: r#"{"code": "sum(range(10**6))", "language": "python"}"#,
    },
    Listed {
        service: Service::Code(Offer::CodeRunBasic),
        name: "Execute code",
        description: "Runs Python, JavaScript, bash or R in a fresh jail with a timeout of 1 to 300 s.",
        list_price: "0.005",
        example: r#"{"code": "console.log(1 + 1)", "language": "javascript", "timeout": 10}"#,
    },
    Listed {
        service: Service::Execute,
        name: "Execute an action",
        description: "Runs a registered action exactly once for a nonce and answers with a receipt.",
        list_price: "0.01",
        example: r#"{"action": "echo", "payload": {"msg": "hi"}, "nonce": "n-1"}"#,
    },
    Listed {
        service: Service::Tool,
        name: "Call a tool",
        description: "Calls a tool behind the gates, as a dry-run unless `dryRun` is false; the tools are at /exec/tools.",
        list_price: "0.01",
        example: r#"{"tool": {"name": "math_compute", "args": {"expression": "6 * 7"}}}"#,
    },
    Listed {
        service: Service::Simulate,
        name: "Simulate a tool",
        description: "The same, always as a dry-run and always free.",
        list_price: "0.00",
        example: r#"{"tool": {"name": "http_get", "args": {"url": "https://example.org"}}}"#,
    },
    Listed {
        service: Service::Batch,
        name: "Call several tools",
        description: "Up to 20 calls in their order, all authorised before the first one, each with a receipt.",
        list_price: "0.10",
        example: r#"{"calls": [{"tool": {"name": "json_parse", "args": {"data": "[1]"}}}], "stopOnError": true}"#,
    },
];

impl Listed {
    /// Whether it is served here.
    pub(super) fn is_served(&self, house: &House) -> bool {
        match self.service {
            Service::Execute => true,
            Service::Tool | Service::Simulate | Service::Batch => house.parts.tools == ToolSurface::On,
            Service::Code(offer) => house.parts.catalogue.is_some() && is_on(house, offer),
        }
    }

    /// What is asked for it here.
    pub(crate) fn price(&self, house: &House) -> Amount {
        let prices = house.parts.corridor.prices();
        let (action, effect, offer) = match self.service {
            Service::Execute => ("echo", Effect::Live, None),
            Service::Code(offer) => ("python", Effect::Live, Some(offer)),
            Service::Tool => ("math_compute", Effect::DryRun, None),
            Service::Simulate => return Amount::ZERO,
            Service::Batch => return prices.least_of_batch(),
        };
        ActionName::new(action).map_or(Amount::ZERO, |action| prices.of(&action, effect, offer))
    }

    /// The offer with its price, schema and example.
    pub(super) fn to_json(&self, house: &House) -> Value {
        let price = self.price(house);
        let path = self.service.path();
        let document = crate::openapi::document(house.parts.info.version);
        let schema = &document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"];
        json!({
            "slug": self.service.id(),
            "name": self.name,
            "route": format!("POST {path}"),
            "method": "POST",
            "path": path,
            "description": self.description,
            "category": if matches!(self.service, Service::Code(_) | Service::Execute) { "code" } else { "tools" },
            "price": price,
            "currency": "USD",
            "free": price.is_zero(),
            "list_price": self.list_price,
            "inputSchema": crate::openapi::resolved(&document, schema),
            "example": serde_json::from_str::<Value>(self.example).unwrap_or_default(),
        })
    }
}
