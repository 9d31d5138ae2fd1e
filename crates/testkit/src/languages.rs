//! Scripted languages: their code is the name of a scripted tool, and they do what that does.

use std::sync::Arc;

use execgate_model::BoxFuture;
use execgate_tool::{BadCall, Call, Description, Languages, Prepared, Tool};
use serde_json::{Value, json};

/// The names of the languages of every world.
pub(crate) const NAMES: [&str; 2] = ["javascript", "python"];

/// The languages as the pages show them.
pub(crate) struct ScriptedLanguages;

impl Languages for ScriptedLanguages {
    fn names(&self) -> Vec<String> {
        NAMES.map(str::to_owned).to_vec()
    }

    fn describe(&self) -> BoxFuture<'_, Value> {
        Box::pin(async { json!({"default": {"languages": [{"name": "python", "version": "3.0.0"}]}}) })
    }
}

/// A language of some scripted tools.
pub(crate) struct ScriptedLanguage {
    name: &'static str,
    tools: Arc<Vec<Box<dyn Tool>>>,
}

impl ScriptedLanguage {
    /// Every language over these tools.
    pub(crate) fn all(tools: Vec<Box<dyn Tool>>) -> impl Iterator<Item = Box<dyn Tool>> {
        let tools = Arc::new(tools);
        NAMES.into_iter().map(move |name| Box::new(Self { name, tools: Arc::clone(&tools) }) as Box<dyn Tool>)
    }
}

impl Tool for ScriptedLanguage {
    fn name(&self) -> &str {
        self.name
    }

    fn describe(&self) -> Description {
        Description { summary: "Does what its code names.".into(), schema: json!({"type": "object"}) }
    }

    fn prepare(&self, call: &Call<'_>) -> Result<Box<dyn Prepared>, BadCall> {
        let code = call.payload["code"].as_str().unwrap_or_default();
        let tool = self.tools.iter().find(|tool| tool.name() == code);
        tool.ok_or_else(|| BadCall::at("/code", "the code names no scripted tool"))?.prepare(call)
    }
}
