//! The offers as every page shows them: one list, one price.

use execgate_model::{ActionName, Amount, Offer};
use serde_json::{Value, json};

use crate::figures::Service;
use crate::house::House;

/// One offer of this gateway.
pub(super) struct Listed {
    pub(super) service: Service,
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    /// The usual price in US dollars (CONTRACTS 4), whatever is asked here.
    pub(super) list_price: &'static str,
    pub(super) example: &'static str,
}

/// Every offer.
pub(super) const LISTED: [Listed; 4] = [
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
];

impl Listed {
    /// Whether it is served here.
    pub(super) fn is_served(&self, house: &House) -> bool {
        match self.service {
            Service::Execute => true,
            Service::Code(_) => house.parts.catalogue.is_some(),
        }
    }

    /// What is asked for it here.
    pub(super) fn price(&self, house: &House) -> Amount {
        let prices = house.parts.corridor.prices();
        let (action, offer) = match self.service {
            Service::Execute => ("echo", None),
            Service::Code(offer) => ("python", Some(offer)),
        };
        ActionName::new(action).map_or(Amount::ZERO, |action| prices.of(&action, offer))
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
            "category": "code",
            "price": price,
            "currency": "USD",
            "free": price.is_zero(),
            "list_price": self.list_price,
            "inputSchema": crate::openapi::resolved(&document, schema),
            "example": serde_json::from_str::<Value>(self.example).unwrap_or_default(),
        })
    }
}
