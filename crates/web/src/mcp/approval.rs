//! How a call is told that it waits for people: as a task where its client has those (the extension
//! `io.modelcontextprotocol/tasks`), else as a page to open (elicitation by URL), else as a result that says so.
//!
//! In every form the same call finds the same run, and nothing of a form is trusted: what a client sends back is held
//! against whoever asks.

use execgate_flow::parking::Waiting;
use execgate_model::Nonce;
use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CreateTaskResult, ElicitRequest, ElicitRequestParams,
    InputRequest, InputRequiredResult, ProtocolVersion,
};
use rmcp::service::RequestContext;
use serde_json::Value;

use super::desk::Asker;
use super::{challenge, tasks};
use crate::house::House;
use crate::problem::Problem;

/// What the client is asked, among the things that it could be asked.
const QUESTION: &str = "approval";

/// In which form a call is told that it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// A task, whose end the client asks for.
    Task,
    /// A page for its user to open; the call is made again when that is done.
    Page,
    /// A result, which a model reads.
    Result,
}

/// How a call is told that it waits, and what its client has answered to that before.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    manner: Manner,
    /// The user has opened the page: the end of it is worth waiting for.
    pub(super) is_seen: bool,
    /// It pays by challenge, and takes the errors of that scheme.
    pub(super) by_challenge: bool,
    /// The name that the call had when it was asked, which is the caller's to choose like any other.
    pub(super) state: Option<Nonce>,
}

impl Way {
    /// As a result, for whoever has said nothing of any other form.
    pub(super) const fn plain() -> Self {
        Self { manner: Manner::Result, is_seen: false, by_challenge: false, state: None }
    }

    /// As an error, for whoever reads something: of that the protocol has no other form.
    pub(super) fn of_reading(context: &RequestContext<RoleServer>) -> Self {
        Self { by_challenge: takes_challenges(context), ..Self::plain() }
    }

    /// What the client of a call can do, and what it has answered.
    pub(super) fn of(request: &mut CallToolRequestParams, context: &RequestContext<RoleServer>) -> Self {
        let state = request.request_state.take().and_then(|state| Nonce::new(state).ok());
        let answered = request.input_responses.take();
        let answer = answered.as_ref().and_then(|answered| answered.get(QUESTION));
        let is_seen = answer.and_then(|answer| answer.get("action")) == Some(&Value::from("accept"));
        let capabilities = context.client_capabilities().unwrap_or_default();
        let is_of_now = context
            .protocol_version()
            .is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str());
        let takes_pages = capabilities.elicitation.as_ref().is_some_and(|elicits| elicits.url.is_some());
        let manner = match () {
            // It was asked already, and whatever it has answered, it is not asked for ever.
            () if answered.is_some() || !is_of_now => Manner::Result,
            () if capabilities.supports_tasks() => Manner::Task,
            () if takes_pages => Manner::Page,
            () => Manner::Result,
        };
        Self { manner, is_seen, by_challenge: takes_challenges(context), state }
    }

    /// That a call waits, in the form that its client has; none where a result says it.
    pub(super) async fn told(
        &self,
        house: &House,
        asker: &Asker,
        problem: &Problem,
    ) -> Option<CallToolResponse> {
        // What costs something does not start by itself: whoever calls has to call again, with a payment.
        let waiting = problem.waiting().filter(|waiting| waiting.price.is_zero())?;
        match self.manner {
            Manner::Task => tasks::begun(house, waiting.run).await.map(CreateTaskResult::new).map(Into::into),
            Manner::Page => page(house, asker, waiting, self.state.as_ref()).map(Into::into),
            Manner::Result => None,
        }
    }
}

/// Whether a client takes the errors of the scheme that pays by challenge.
fn takes_challenges(context: &RequestContext<RoleServer>) -> bool {
    let capabilities = context.client_capabilities().unwrap_or_default();
    let experiments = capabilities.experimental.as_ref();
    context.meta.0.0.contains_key(challenge::CREDENTIAL)
        || experiments.is_some_and(|experiments| experiments.contains_key(challenge::CAPABILITY))
}

/// A page to open; none where nobody has said under which name this gateway is reached.
fn page(
    house: &House,
    asker: &Asker,
    waiting: &Waiting,
    told: Option<&Nonce>,
) -> Option<InputRequiredResult> {
    let origin = asker.origin.as_ref().or(house.parts.public_url.as_ref())?;
    let message = format!(
        "The call of `{}` waits for a person's approval, which the rule `{}` asks for.",
        waiting.action,
        waiting.rule()
    );
    let question = ElicitRequestParams::UrlElicitationParams {
        meta: None,
        message,
        url: format!("{origin}/approvals/{}", waiting.run),
        elicitation_id: waiting.run.to_string(),
    };
    let question = InputRequest::Elicitation(ElicitRequest::new(question));
    let questions = [(QUESTION.to_owned(), question)].into_iter().collect();
    // A call with a name of its caller's own is found by that.
    let state = told.cloned().or_else(|| house.parked_calls.name_of(waiting.run));
    let state = state.map(|nonce| nonce.as_str().to_owned());
    Some(InputRequiredResult::new(Some(questions), state))
}
