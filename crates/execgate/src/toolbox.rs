//! What can be run here, and what of the start's rights it needs.

use std::path::Path;

use anyhow::Context as _;
use execgate_tool::builtin::{self, Database, FileWrite, HttpClient, Parts, SqlWrite};
use execgate_tool::{Action, ActionParts, Interpreter, Profiles, Tool, Unlocked, Workers, Workspaces};

use crate::config::{Settings, Webhook};

/// The folder of workspaces in the data directory.
const WORKSPACES: &str = "workspaces";

/// What was read with the rights of the start.
#[derive(Clone, Default)]
pub(crate) struct Loaded {
    /// Who is told of runs that wait for an approval.
    pub(crate) webhook: Option<Webhook>,
    /// What `sql_write` writes to.
    pub(crate) database: Option<Database>,
}

impl Loaded {
    /// Reads the secrets of a webhook and a database, with whatever rights this process still has.
    pub(crate) fn of(settings: &Settings) -> anyhow::Result<Self> {
        let actions = &settings.actions;
        Ok(Self {
            webhook: settings.webhook.as_ref().map(|hook| hook.load(actions)).transpose()?,
            database: settings
                .sql_write
                .as_ref()
                .map(|sql| sql.load(actions, settings.database.as_deref()))
                .transpose()?,
        })
    }
}

/// The workspaces of a gateway.
pub(crate) fn workspaces(data_dir: &Path) -> Workspaces {
    Workspaces::at(data_dir.join(WORKSPACES))
}

/// What can be run: the tools of this program, the languages of its sandboxes, the blocked tools that have a handler, and
/// the actions of the operator's own.
pub(crate) fn tools(
    settings: &Settings,
    data_dir: &Path,
    database: Option<&Database>,
    profiles: Option<&Profiles>,
    actions: &[Action],
) -> anyhow::Result<Vec<Box<dyn Tool>>> {
    let parts = Parts { workers: Workers::of_this_program(), client: HttpClient::new() };
    let network = &settings.outward.network;
    let mut tools: Vec<Box<dyn Tool>> = builtin::all(&parts);
    tools.extend(FileWrite::new(workspaces(data_dir)).map(|tool| Box::new(tool) as Box<dyn Tool>));
    let sql = database.cloned().and_then(SqlWrite::new);
    tools.extend(sql.map(|tool| Box::new(tool) as Box<dyn Tool>));
    if let Some(profiles) = profiles {
        for language in profiles.languages() {
            let interpreter = Interpreter::new(language, profiles.clone());
            tools.push(Box::new(interpreter.with_network(network.clone())));
        }
        let behind = |language: &str| {
            let is_there = profiles.languages().iter().any(|name| name == language);
            is_there.then(|| Interpreter::new(language, profiles.clone()).with_network(network.clone()))
        };
        let unlocked =
            [behind("bash").and_then(Unlocked::shell), behind("python").and_then(Unlocked::python)];
        tools.extend(unlocked.into_iter().flatten().map(|tool| Box::new(tool) as Box<dyn Tool>));
    }
    let parts = ActionParts {
        // Of their own: fetches of callers must not take the places of what the operator has declared.
        client: HttpClient::new(),
        profiles: profiles.cloned(),
        network: network.clone(),
    };
    for action in actions {
        let what = || format!("the action `{}` cannot be served", action.name());
        tools.push(action.to_tool(&parts).with_context(what)?);
    }
    Ok(tools)
}
