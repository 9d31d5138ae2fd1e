//! From what the operator declares to an action. Everything that can be wrong is found here, before anybody calls.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use execgate_model::{Offer, RunOptions};
use execgate_sandbox::{Language, Network};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::bad::BadAction;
use super::command::Command;
use super::http::HttpRequest;
use super::schema::Schema;
use super::secret::Secrets;
use crate::builtin::HttpClient;
use crate::compute::{WALL_DEFAULT, WALL_MAX};
use crate::{BLOCKED, BadCall, Description, Profiles, TOOLS, Tool, code};

/// The longest name, in bytes.
const NAME_MAX: usize = 64;

/// The longest description, in bytes: a model reads all of them.
const DESCRIPTION_MAX: usize = 1024;

/// Actions that are no tools.
const OTHER_ACTIONS: [&str; 2] = ["add", "echo"];

/// Whether a call changes something outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionEffect {
    /// Nothing.
    Read,
    /// Something, so that a call whose end is not known may have acted.
    Write,
}

impl ActionEffect {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// An action as the operator declares it.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionSpec {
    /// The name that callers use.
    pub name: String,
    /// One sentence for people and models.
    pub description: String,
    /// The JSON Schema of its payload; without one the payload is empty.
    pub schema: Option<Value>,
    /// Whether it changes something.
    pub effect: ActionEffect,
    /// Its deadline; 10 s where nothing is said, at most 30 s.
    pub timeout: Option<Duration>,
    /// Whether it is a tool of `/exec/*` too.
    pub is_tool: bool,
    /// What it does.
    pub kind: KindSpec,
}

/// What an action does.
#[derive(Debug, Clone, PartialEq)]
pub enum KindSpec {
    /// Asks a service.
    Http(HttpSpec),
    /// Runs a program.
    Command(CommandSpec),
}

/// A request to a service. A value of a header, of the query or within the body may be a secret.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HttpSpec {
    /// `GET`, `POST`, …
    pub method: String,
    /// The URL, with places in its path.
    pub url: String,
    /// The query: texts with places, or secrets.
    pub query: Map<String, Value>,
    /// Headers: texts, or secrets.
    pub headers: Map<String, Value>,
    /// `"payload"`, or a value with places.
    pub body: Option<Value>,
    /// Whether the host may be of a private network, or this one.
    pub allow_private: bool,
    /// How much of an answer is kept, in bytes.
    pub bytes_max: Option<usize>,
}

/// A program in the jail, which reads the payload from its standard input.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandSpec {
    /// The program, by its path in the image, and its arguments.
    pub argv: Vec<String>,
    /// The profile in whose image it runs.
    pub profile: Option<String>,
}

/// What every kind of action has.
pub(super) struct Common {
    pub(super) name: String,
    description: String,
    pub(super) schema: Schema,
    pub(super) effect: ActionEffect,
    wall: Duration,
    is_tool: bool,
    /// SHA-256 over the declaration, in hexadecimal. It holds names of secrets, and none of them.
    digest: String,
}

enum Kind {
    Http(Arc<HttpRequest>),
    Command(CommandSpec),
}

/// An action of the operator's, checked. It is cheap to clone.
#[derive(Clone)]
pub struct Action {
    common: Arc<Common>,
    kind: Arc<Kind>,
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Action").field("name", &self.common.name).finish_non_exhaustive()
    }
}

/// What actions are made tools with.
#[derive(Debug, Clone)]
pub struct ActionParts {
    /// Who asks services.
    pub client: HttpClient,
    /// Where commands run.
    pub profiles: Option<Profiles>,
    /// Their network.
    pub network: Network,
}

impl Action {
    /// Checks a declaration.
    ///
    /// # Errors
    /// [`BadAction`] names the field and the rule.
    pub fn new(spec: ActionSpec, secrets: &Secrets) -> Result<Self, BadAction> {
        check_name(&spec.name)?;
        if spec.description.is_empty() || spec.description.len() > DESCRIPTION_MAX {
            return Err(BadAction::Description { max: DESCRIPTION_MAX });
        }
        let wall = spec.timeout.unwrap_or(WALL_DEFAULT);
        if wall.is_zero() || wall > WALL_MAX {
            return Err(BadAction::Timeout);
        }
        let digest = digest(&spec);
        let schema = Schema::new(spec.schema)?;
        let kind = match spec.kind {
            KindSpec::Http(http) => Kind::Http(Arc::new(HttpRequest::new(&http, &schema, secrets)?)),
            KindSpec::Command(command) => Kind::Command(Command::checked(command)?),
        };
        let (name, description) = (spec.name, spec.description);
        let (effect, is_tool) = (spec.effect, spec.is_tool);
        let common = Common { name, description, schema, effect, wall, is_tool, digest };
        Ok(Self { common: Arc::new(common), kind: Arc::new(kind) })
    }

    /// The name that callers use.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.common.name
    }

    /// Whether it reaches beyond this gateway, where the network of jails does or does not.
    #[must_use]
    pub fn reaches_out(&self, jails: bool) -> bool {
        match self.kind.as_ref() {
            Kind::Http(_) => true,
            Kind::Command(_) => jails,
        }
    }

    /// Whether it is a tool of `/exec/*` too.
    #[must_use]
    pub fn is_tool(&self) -> bool {
        self.common.is_tool
    }

    /// `http` or `command`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match *self.kind {
            Kind::Http(_) => "http",
            Kind::Command(_) => "command",
        }
    }

    /// What the sandbox of a profile needs to know of a command: the profile, and how its program is started.
    #[must_use]
    pub fn program(&self) -> Option<(Option<&str>, Language)> {
        match &*self.kind {
            Kind::Http(_) => None,
            Kind::Command(command) => {
                Some((command.profile.as_deref(), Command::language(&self.common.name, &command.argv)))
            }
        }
    }

    /// The action as a tool.
    ///
    /// # Errors
    /// [`BadAction`] where a command has no jail.
    pub fn to_tool(&self, parts: &ActionParts) -> Result<Box<dyn Tool>, BadAction> {
        let common = Arc::clone(&self.common);
        Ok(match &*self.kind {
            Kind::Http(request) => Box::new(HttpRequest::tool(request, common, &parts.client)),
            Kind::Command(command) => {
                let profiles = parts.profiles.as_ref().ok_or(BadAction::NoJail)?;
                let name = || command.profile.clone().unwrap_or_default();
                let sandbox = profiles.find(command.profile.as_deref());
                let sandbox = Arc::clone(sandbox.ok_or_else(|| BadAction::NoProfile(name()))?);
                Box::new(Command { common, spec: command.clone(), sandbox, network: parts.network.clone() })
            }
        })
    }
}

fn check_name(name: &str) -> Result<(), BadAction> {
    let in_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
    if !begins || name.len() > NAME_MAX || !name.chars().all(in_name) {
        return Err(BadAction::Name);
    }
    let is_taken = TOOLS.contains(&name)
        || OTHER_ACTIONS.contains(&name)
        || BLOCKED.iter().any(|blocked| blocked.name == name)
        || Offer::ALL.iter().any(|offer| offer.as_str() == name)
        || code::named(name).is_some();
    if is_taken { Err(BadAction::Reserved) } else { Ok(()) }
}

fn digest(spec: &ActionSpec) -> String {
    let kind = match &spec.kind {
        KindSpec::Http(http) => json!({
            "method": http.method, "url": http.url, "query": http.query, "headers": http.headers,
            "body": http.body, "allow_private": http.allow_private, "max_bytes": http.bytes_max,
        }),
        KindSpec::Command(command) => json!({"argv": command.argv, "profile": command.profile}),
    };
    let timeout_ms = spec.timeout.map(|timeout| timeout.as_millis().to_string());
    let whole = json!({
        "name": spec.name, "description": spec.description, "schema": spec.schema, "effect": spec.effect.word(),
        "timeout_ms": timeout_ms, "tool": spec.is_tool, "kind": kind,
    });
    Sha256::digest(whole.to_string()).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Common {
    pub(super) fn describe(&self) -> Description {
        Description { summary: self.description.clone().into(), schema: self.schema.text().clone() }
    }

    /// The deadline of a call: the action's own, or the shorter one that is asked for.
    pub(super) fn wall(&self, options: &RunOptions) -> Result<Duration, BadCall> {
        match options.timeout_ms.map(Duration::from_millis) {
            None => Ok(self.wall),
            Some(wall) if !wall.is_zero() && wall <= self.wall => Ok(wall),
            Some(_) => {
                let (name, max) = (&self.name, self.wall.as_secs_f64());
                let rule = format!("the timeout of `{name}` is more than 0 and at most {max} seconds");
                Err(BadCall::at("", rule))
            }
        }
    }

    /// Which declaration a run followed, for its receipt.
    pub(super) fn enforced(&self, kind: &str) -> Value {
        json!({"kind": kind, "effect": self.effect.word(), "definition": self.digest})
    }
}
