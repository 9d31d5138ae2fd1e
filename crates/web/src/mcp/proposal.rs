//! From a tool call to a proposal. What a client says beside the arguments it says in `_meta`, which no model writes.

use execgate_model::{ActionName, Effect, Hearsay, Nonce, Proposal, RunOptions, Surface};
use serde_json::{Map, Value};

use super::desk::{Asker, Call};
use crate::body::Fields;
use crate::http::code::language;
use crate::problem::Problem;

/// The caller's name for its call (CONTRACTS 2): a call that comes again under it does not run again.
const KEY: &str = "dev.execgate/idempotency-key";

/// An approval artifact, as JSON.
const APPROVAL: &str = "dev.execgate/approval";

/// Whether the call is only simulated.
const DRY_RUN: &str = "dev.execgate/dry-run";

/// The tool that is a dry-run always.
const MOCK: &str = "mock_api_call";

/// The proposal of a call of `execute_code`.
pub(super) fn of_code(asker: &Asker, call: &mut Call, languages: &[String]) -> Result<Proposal, Problem> {
    let mut arguments = std::mem::take(&mut call.arguments);
    let (language, words) =
        language(arguments.remove("language").filter(|value| !value.is_null()), languages)?;
    for word in words {
        arguments.insert("dialect".to_owned(), word.into());
    }
    // Pictures are content of their own here.
    arguments.insert("rich".to_owned(), true.into());
    let action =
        ActionName::new(language).map_err(|error| Problem::bad_field("/language", error.to_string()))?;
    of(asker, call, action, arguments)
}

/// The proposal of a call of any other tool.
pub(super) fn of_tool(asker: &Asker, call: &mut Call) -> Result<Proposal, Problem> {
    let arguments = std::mem::take(&mut call.arguments);
    let action = ActionName::new(&call.name).map_err(|error| Problem::bad_field("", error.to_string()))?;
    let proposal = of(asker, call, action, arguments)?;
    let effect = if call.name == MOCK { Effect::DryRun } else { proposal.effect };
    Ok(Proposal { effect, ..proposal })
}

fn of(
    asker: &Asker,
    call: &Call,
    action: ActionName,
    arguments: Map<String, Value>,
) -> Result<Proposal, Problem> {
    let mut meta = Fields::new(call.meta.clone());
    let nonce = meta.optional_text(KEY)?.map(Nonce::new).transpose().map_err(|error| {
        Problem::bad_request("bad-idempotency-key", format!("`_meta[\"{KEY}\"]` is wrong: {error}"))
    })?;
    let approval = meta.artifact_named(APPROVAL)?.map(|artifact| artifact.to_string());
    let effect = if meta.switch(DRY_RUN)? { Effect::DryRun } else { Effect::Live };
    Ok(Proposal {
        surface: Surface::Mcp,
        action,
        payload: Value::Object(arguments),
        effect,
        options: RunOptions::default(),
        nonce,
        caller: asker.caller.clone(),
        approval,
        credential: None,
        watcher: None,
        place: call.place.clone(),
        hearsay: Hearsay::default(),
        peer: asker.peer,
    })
}

#[cfg(test)]
mod tests {
    use execgate_model::{BodyPlace, Caller, Effect, Identity, Proposal, TenantId, Watcher};
    use serde_json::{Map, Value, json};

    use super::{of_code, of_tool};
    use crate::mcp::approval::Way;
    use crate::mcp::desk::{Asker, Call};
    use crate::problem::Problem;

    fn object(value: Value) -> Map<String, Value> {
        if let Value::Object(fields) = value { fields } else { unreachable!("tests send objects") }
    }

    fn read(name: &str, arguments: Value, meta: Value) -> Result<Proposal, Problem> {
        let caller = Caller { tenant: TenantId::new("default").unwrap(), identity: Identity::Local };
        let asker = Asker { caller, peer: None, origin: None };
        let (arguments, meta) = (object(arguments), object(meta));
        let mut call = Call {
            name: name.to_owned(),
            arguments,
            meta,
            line: None,
            place: BodyPlace::default(),
            way: Way::plain(),
            asks: Watcher::default(),
        };
        if name == "execute_code" {
            of_code(&asker, &mut call, &["javascript", "python"].map(str::to_owned))
        } else {
            of_tool(&asker, &mut call)
        }
    }

    #[test]
    fn code_is_the_action_of_its_language_and_shows_pictures() {
        let proposal = read("execute_code", json!({"code": "1", "language": null}), json!({})).unwrap();
        assert_eq!(proposal.action.as_str(), "python");
        assert_eq!(proposal.payload, json!({"code": "1", "rich": true}));
        let proposal = read("execute_code", json!({"code": "1", "language": "ts"}), json!({})).unwrap();
        assert_eq!(proposal.payload, json!({"code": "1", "rich": true, "dialect": "typescript"}));
        let told = read("execute_code", json!({"code": "1", "language": "ruby"}), json!({})).unwrap_err();
        assert!(told.detail().contains("Supported: javascript, python"), "{}", told.detail());
    }

    #[test]
    fn what_stands_beside_the_arguments_goes_where_it_belongs() {
        let meta = json!({
            "dev.execgate/idempotency-key": "k1", "dev.execgate/approval": {"a": 1},
            "dev.execgate/dry-run": true, "progressToken": 1
        });
        let proposal = read("json_parse", json!({"data": "1"}), meta).unwrap();
        assert_eq!(proposal.nonce.unwrap().as_str(), "k1");
        assert_eq!((proposal.approval, proposal.effect), (Some(r#"{"a":1}"#.to_owned()), Effect::DryRun));
        let bare = read("json_parse", json!({"data": "1"}), json!({})).unwrap();
        assert_eq!((bare.nonce, bare.approval, bare.effect), (None, None, Effect::Live));
        for wrong in [json!({"dev.execgate/idempotency-key": 1}), json!({"dev.execgate/dry-run": "yes"})] {
            assert!(read("json_parse", json!({}), wrong).is_err());
        }
    }

    #[test]
    fn what_only_simulates_is_a_dry_run_by_itself() {
        let proposal = read("mock_api_call", json!({"url": "https://a.example"}), json!({})).unwrap();
        assert_eq!(proposal.effect, Effect::DryRun);
    }
}
