//! What the languages of a gateway are: their versions and packages, as a guest finds them. Asked of each
//! interpreter itself, in the jail, once; what it says is a guest's word and is only shown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use execgate_model::BoxFuture;
use execgate_sandbox::{Request, Sandbox, Verdict};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::{Profiles, code, guest_json};

/// How long a language may take to tell about itself; R takes most of a second where it has many packages.
const TOLD_WITHIN: Duration = Duration::from_secs(30);

/// The longest list of packages, in bytes.
const TOLD_BYTES_MAX: u64 = 1 << 20;

/// How long a language that could not be asked is left alone.
const FAILURE_KEPT: Duration = Duration::from_mins(1);

/// The languages that a gateway serves.
pub trait Languages: Send + Sync {
    /// The names, in order.
    fn names(&self) -> Vec<String>;

    /// For each profile its image, its tier, and a list of `{name, aliases, version, packages: [{name, version}]}`. A
    /// language that could not be asked has null for the last two, and is asked again after a minute.
    fn describe(&self) -> BoxFuture<'_, Value>;
}

/// Every language of every profile.
#[derive(Debug)]
pub struct Catalogue {
    profiles: Profiles,
    told: Told,
}

impl Catalogue {
    /// The languages of these sandboxes.
    #[must_use]
    pub fn new(profiles: Profiles) -> Self {
        Self { profiles, told: Told::default() }
    }
}

impl Languages for Catalogue {
    fn names(&self) -> Vec<String> {
        self.profiles.languages()
    }

    fn describe(&self) -> BoxFuture<'_, Value> {
        let of = |(profile, sandbox): (&str, &Arc<Sandbox>)| {
            let has = |name: &str| sandbox.languages().any(|language| language == name);
            let place = |language: &str| Place { profile: profile.to_owned(), language: language.to_owned() };
            let served = code::all().iter().filter(|definition| has(definition.name()));
            served.map(|definition| place(definition.name())).collect::<Vec<_>>()
        };
        let places: Vec<_> = self.profiles.iter().flat_map(of).collect();
        let profiles = self.profiles.clone();
        let ask = move |place: &Place| {
            let sandbox = profiles.find(Some(&place.profile))?;
            let definition = code::all().iter().find(|definition| definition.name() == place.language)?;
            ask(sandbox, definition)
        };
        Box::pin(async move { describe(&self.profiles, &self.told.of(places, ask).await) })
    }
}

/// The page, of what was told.
fn describe(profiles: &Profiles, told: &BTreeMap<Place, Kept>) -> Value {
    let mut described = Map::new();
    for (name, sandbox) in profiles.iter() {
        let mut languages = Vec::new();
        for definition in code::all() {
            let place = Place { profile: name.to_owned(), language: definition.name().to_owned() };
            if sandbox.languages().any(|language| language == definition.name()) {
                let about = told.get(&place).and_then(|kept| kept.about.as_ref());
                languages.push(json!({
                    "name": definition.name(),
                    "aliases": definition.aliases(),
                    "version": about.and_then(|about| about.get("version")),
                    "packages": about.and_then(|about| about.get("packages")),
                }));
            }
        }
        let enforced = sandbox.enforced();
        let profile = json!({"image": enforced.image, "tier": enforced.tier, "languages": languages});
        described.insert(name.to_owned(), profile);
    }
    Value::Object(described)
}

/// What a language tells about itself.
type About = Map<String, Value>;

/// A language of a profile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    profile: String,
    language: String,
}

/// What came of asking; an answer is kept for good.
#[derive(Debug, Clone)]
struct Kept {
    about: Option<About>,
    at: Instant,
}

impl Kept {
    fn is_fresh(&self) -> bool {
        self.about.is_some() || self.at.elapsed() < FAILURE_KEPT
    }
}

/// What was told so far. Nobody can have more than one language asked at a time, however often they come and go.
#[derive(Debug, Default)]
struct Told(Arc<Mutex<BTreeMap<Place, Kept>>>);

impl Told {
    /// What these languages told, now or before.
    async fn of(
        &self,
        places: Vec<Place>,
        ask: impl Fn(&Place) -> Option<About> + Send + Sync + 'static,
    ) -> BTreeMap<Place, Kept> {
        let mut told = Arc::clone(&self.0).lock_owned().await;
        if places.iter().all(|place| told.get(place).is_some_and(Kept::is_fresh)) {
            return told.clone();
        }
        // A task of its own, which keeps the others waiting to its end also if whoever started it is gone.
        let asked = tokio::task::spawn_blocking(move || {
            for place in places {
                if !told.get(&place).is_some_and(Kept::is_fresh) {
                    let about = ask(&place);
                    told.insert(place, Kept { about, at: Instant::now() });
                }
            }
            told.clone()
        });
        asked.await.unwrap_or_default()
    }
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::sync::{Arc, Mutex};

    use serde_json::Map;
    use tokio::time::advance;

    use super::{About, FAILURE_KEPT, Place, Told};

    fn places() -> Vec<Place> {
        ["bash", "r"].map(|name| Place { profile: "default".to_owned(), language: name.to_owned() }).into()
    }

    #[tokio::test]
    async fn whoever_hangs_up_has_nobody_asked_twice() {
        let told = Arc::new(Told::default());
        let (began, begins) = channel();
        let (go, goes) = channel::<()>();
        let goes = Mutex::new(goes);
        let first = Arc::clone(&told);
        let asks = move |_: &Place| {
            began.send(()).unwrap();
            goes.lock().unwrap().recv().unwrap();
            Some(Map::new())
        };
        let caller = tokio::spawn(async move { first.of(places(), asks).await });
        let begins = tokio::task::spawn_blocking(move || {
            begins.recv().unwrap();
            begins
        });
        let begins = begins.await.unwrap();
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        go.send(()).unwrap();
        go.send(()).unwrap();
        let all = told.of(places(), |_| None).await;
        assert!(all.values().all(|kept| kept.about.is_some()));
        assert_eq!(begins.iter().count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_language_that_fails_is_left_alone_for_a_while_and_the_others_for_good() {
        let told = Told::default();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let ask = || {
            let asked = Arc::clone(&asked);
            move |place: &Place| -> Option<About> {
                asked.lock().unwrap().push(place.language.clone());
                (place.language == "bash").then(Map::new)
            }
        };
        told.of(places(), ask()).await;
        told.of(places(), ask()).await;
        assert_eq!(*asked.lock().unwrap(), ["bash", "r"]);
        advance(FAILURE_KEPT).await;
        told.of(places(), ask()).await;
        assert_eq!(*asked.lock().unwrap(), ["bash", "r", "r"]);
    }
}
