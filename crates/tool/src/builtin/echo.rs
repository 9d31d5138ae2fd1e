//! `echo`: gives back its payload, as OpenExec's does: `{"echo": payload}`.

use serde_json::json;

use crate::pure::Computed;
use crate::{BadCall, Call, Description, Prepared, Tool};

/// The tool.
pub(super) struct Echo;

impl Tool for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn describe(&self) -> Description {
        Description { summary: "Gives back the payload.".into(), schema: json!({"type": "object"}) }
    }

    fn prepare(&self, call: &Call<'_>) -> Result<Box<dyn Prepared>, BadCall> {
        Ok(Box::new(Computed(json!({ "echo": call.payload }))))
    }
}
