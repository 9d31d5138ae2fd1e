//! What the languages of a gateway are: their versions and packages, as a guest finds them. Asked of each
//! interpreter itself, in the jail, once; what it says is a guest's word and is only shown.

use std::sync::Arc;
use std::time::Duration;

use execgate_model::BoxFuture;
use execgate_sandbox::{Request, Sandbox, Verdict};
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;

use crate::{Profiles, code, guest_json};

/// How long a language may take to tell about itself; R takes most of a second where it has many packages.
const TOLD_WITHIN: Duration = Duration::from_secs(30);

/// The longest list of packages, in bytes.
const TOLD_BYTES_MAX: u64 = 1 << 20;

/// The languages that a gateway serves.
pub trait Languages: Send + Sync {
    /// The names, in order.
    fn names(&self) -> Vec<String>;

    /// For each profile its image, its tier, and a list of `{name, aliases, version, packages: [{name, version}]}`. A
    /// language that could not be asked has null for the last two, and is asked again the next time.
    fn describe(&self) -> BoxFuture<'_, Value>;
}

/// Every language of every profile.
#[derive(Debug)]
pub struct Catalogue {
    profiles: Profiles,
    told: OnceCell<Value>,
}

impl Catalogue {
    /// The languages of these sandboxes.
    #[must_use]
    pub fn new(profiles: Profiles) -> Self {
        Self { profiles, told: OnceCell::new() }
    }
}

impl Languages for Catalogue {
    fn names(&self) -> Vec<String> {
        self.profiles.languages()
    }

    fn describe(&self) -> BoxFuture<'_, Value> {
        let ask = || async {
            let profiles = self.profiles.clone();
            let told = tokio::task::spawn_blocking(move || describe(&profiles)).await;
            match told {
                Ok((value, true)) => Ok(value),
                Ok((value, false)) => Err(value),
                Err(_) => Err(Value::Null),
            }
        };
        Box::pin(async move { self.told.get_or_try_init(ask).await.cloned().unwrap_or_else(|partly| partly) })
    }
}

/// Asks everybody; true where all have answered.
fn describe(profiles: &Profiles) -> (Value, bool) {
    let mut complete = true;
    let mut described = Map::new();
    for (name, sandbox) in profiles.iter() {
        let mut languages = Vec::new();
        for definition in code::all() {
            if sandbox.languages().any(|language| language == definition.name()) {
                let about = ask(sandbox, &definition);
                complete &= about.is_some();
                let about = about.unwrap_or_default();
                languages.push(json!({
                    "name": definition.name(),
                    "aliases": definition.aliases(),
                    "version": about.get("version"),
                    "packages": about.get("packages"),
                }));
            }
        }
        let enforced = sandbox.enforced();
        let profile = json!({"image": enforced.image, "tier": enforced.tier, "languages": languages});
        described.insert(name.to_owned(), profile);
    }
    (Value::Object(described), complete)
}

fn ask(sandbox: &Arc<Sandbox>, definition: &code::Definition) -> Option<Map<String, Value>> {
    let mut request = Request::new(definition.name(), definition.about());
    request.limits.wall = TOLD_WITHIN;
    request.limits.output_bytes = TOLD_BYTES_MAX;
    match sandbox.run(request) {
        Ok(run) if run.verdict == Verdict::Value => {
            str::from_utf8(&run.stdout).ok().and_then(guest_json::object)
        }
        Ok(run) => {
            let verdict = format!("{:?}", run.verdict);
            tracing::warn!(language = definition.name(), verdict, "a language did not tell about itself");
            None
        }
        Err(error) => {
            tracing::warn!(language = definition.name(), %error, "a language could not be asked about itself");
            None
        }
    }
}
