//! What a server asks of the client that has called it: sampling, elicitation, roots. Off unless the operator has allowed it
//! for this server; then within a call that is under way alone, to whoever has made that call, bounded, and with the call's
//! own end.
//!
//! A question is a stranger's word to a person or a model, and its answer is theirs to a stranger: neither is kept. Every
//! change here needs a second reader.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use execgate_model::{Respondent, Unanswered};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout_at};

use super::message::RpcError;
use crate::Cancel;

/// Questions of one call, those that are refused among them.
pub(super) const QUESTIONS_MAX: usize = 16;

/// The longest question, and the longest answer, in bytes as JSON: a picture of some hundred kilobytes.
const QUESTION_BYTES_MAX: usize = 1 << 20;
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Errors of JSON-RPC 2.0 (5.1): no such method, no such request, no such parameters, our own.
const NO_METHOD: i64 = -32_601;
const BAD_REQUEST: i64 = -32_600;
const BAD_PARAMS: i64 = -32_602;
const INTERNAL: i64 = -32_603;

/// What a server is told that asks something which nobody has allowed.
const NOT_ALLOWED: &str = "execgate hands this on only where the operator has allowed it for this server";

/// A kind of question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asking {
    /// `sampling/createMessage`: the client's model says something.
    Sampling,
    /// `elicitation/create`: the client's user fills in a form.
    Elicitation,
    /// `roots/list`: which folders the client works in.
    Roots,
}

impl Asking {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sampling, Self::Elicitation, Self::Roots];

    /// The word in configuration, which is also the capability of a client (MCP 2025-11-25, lifecycle).
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sampling => "sampling",
            Self::Elicitation => "elicitation",
            Self::Roots => "roots",
        }
    }

    /// The kind of a word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// The method of the protocol (MCP 2025-11-25, client).
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::Sampling => "sampling/createMessage",
            Self::Elicitation => "elicitation/create",
            Self::Roots => "roots/list",
        }
    }

    /// The kind of a method.
    #[must_use]
    pub fn of(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.method() == method)
    }

    /// What it is called behind the name of its server, in rules.
    #[must_use]
    pub const fn action(self) -> &'static str {
        match self {
            Self::Sampling => "sampling:create",
            Self::Elicitation => "elicitation:create",
            Self::Roots => "roots:list",
        }
    }

    /// The kind of such a name.
    #[must_use]
    pub fn of_action(action: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.action() == action)
    }

    /// Why a question of this kind may not be asked: it wants more of a client than was offered to the server.
    fn vet(self, params: &Map<String, Value>) -> Result<(), &'static str> {
        if params.contains_key("task") {
            return Err("nothing is answered later");
        }
        match self {
            Self::Elicitation if params.get("mode").is_some_and(|mode| mode != "form") => {
                Err("a form is shown to a user, and no page of a server is")
            }
            Self::Sampling if params.contains_key("tools") || params.contains_key("toolChoice") => {
                Err("a model that samples for a server has no tools")
            }
            Self::Sampling if params.get("includeContext").is_some_and(|context| context != "none") => {
                Err("a model that samples for a server is told nothing of others")
            }
            Self::Sampling | Self::Elicitation | Self::Roots => Ok(()),
        }
    }
}

/// Which of it an operator lets one server ask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asks(BTreeSet<Asking>);

impl FromIterator<Asking> for Asks {
    fn from_iter<I: IntoIterator<Item = Asking>>(kinds: I) -> Self {
        Self(kinds.into_iter().collect())
    }
}

impl Asks {
    /// Whether this may be asked.
    #[must_use]
    pub fn has(&self, kind: Asking) -> bool {
        self.0.contains(&kind)
    }

    /// Whether nothing may.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The words of what may be asked.
    pub fn words(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|kind| kind.word())
    }

    /// As a server is told: capabilities of a client. `elicitation` is that of forms.
    pub(super) fn capabilities(&self, takes: impl Fn(Asking) -> bool) -> Value {
        let told = self.0.iter().filter(|kind| takes(**kind));
        Value::Object(told.map(|kind| (kind.word().to_owned(), json!({}))).collect())
    }
}

/// What has passed in one call.
#[derive(Default)]
struct Passed {
    asked: usize,
    refused: usize,
    answered: Vec<&'static str>,
}

/// One call, as far as its client can be asked.
pub(super) struct CallAsks {
    asks: Asks,
    respondent: Arc<dyn Respondent>,
    /// Till when an answer is of use.
    until: Instant,
    passed: Mutex<Passed>,
    /// Pulled when the call has ended.
    over: Cancel,
}

/// A call that can be asked, for as long as it is under way.
pub(super) struct UnderWay(pub(super) Arc<CallAsks>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.over.cancel();
    }
}

/// Why a question has no answer.
struct NoAnswer {
    error: RpcError,
    /// Whether a client has said so, in words of its own.
    is_the_clients: bool,
}

impl From<RpcError> for NoAnswer {
    fn from(error: RpcError) -> Self {
        Self { error, is_the_clients: false }
    }
}

pub(super) fn refusal(code: i64, message: impl Into<String>) -> RpcError {
    RpcError { code, message: message.into(), data: None }
}

/// What is told of a question that belongs to no call.
pub(super) fn outside_a_call() -> RpcError {
    refusal(BAD_REQUEST, "execgate hands nothing on that is asked outside a call")
}

/// What is told of one under whose name another waits for its answer, or that is one too many.
pub(super) fn not_now() -> RpcError {
    refusal(BAD_REQUEST, "a question of this name is under way, or there are too many")
}

pub(super) fn not_allowed() -> RpcError {
    refusal(NO_METHOD, NOT_ALLOWED)
}

impl CallAsks {
    pub(super) fn new(asks: Asks, respondent: Arc<dyn Respondent>, until: Instant) -> Self {
        Self { asks, respondent, until, passed: Mutex::default(), over: Cancel::default() }
    }

    /// What the client of this call takes, of what is allowed.
    pub(super) fn capabilities(&self) -> Value {
        self.asks.capabilities(|kind| self.respondent.takes(kind.method()))
    }

    /// Asks the client of this call. An error is for the server.
    pub(super) async fn ask(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        self.asked(method, params).await.map_err(|none| none.error)
    }

    /// The same, where why there is no answer is kept: it has nothing of a client's own words.
    pub(super) async fn ask_and_keep_why(&self, method: &str, params: Value) -> Result<Value, String> {
        self.asked(method, params).await.map_err(|NoAnswer { error, is_the_clients }| {
            if is_the_clients {
                format!("its client has refused to answer ({})", error.code)
            } else {
                error.message
            }
        })
    }

    async fn asked(&self, method: &str, params: Value) -> Result<Value, NoAnswer> {
        let asked = tokio::select! {
            biased;
            () = self.over.cancelled() => Err(outside_a_call().into()),
            asked = self.vetted(method, params) => asked,
        };
        if asked.is_err() {
            self.passed().refused += 1;
        }
        asked
    }

    async fn vetted(&self, method: &str, params: Value) -> Result<Value, NoAnswer> {
        {
            let mut passed = self.passed();
            passed.asked += 1;
            if passed.asked > QUESTIONS_MAX {
                return Err(
                    refusal(BAD_REQUEST, format!("a call asks at most {QUESTIONS_MAX} questions")).into()
                );
            }
        }
        let kind = Asking::of(method).filter(|kind| self.asks.has(*kind)).ok_or_else(not_allowed)?;
        let mut params = match params {
            Value::Object(params) => params,
            Value::Null => Map::new(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                return Err(refusal(BAD_PARAMS, "parameters are an object").into());
            }
        };
        // How it would be told of progress is between it and us.
        params.remove("_meta");
        kind.vet(&params).map_err(|why| refusal(BAD_PARAMS, why))?;
        let params = Value::Object(params);
        if params.to_string().len() > QUESTION_BYTES_MAX {
            return Err(
                refusal(BAD_PARAMS, format!("a question has at most {QUESTION_BYTES_MAX} bytes")).into()
            );
        }
        if !self.respondent.takes(method) {
            let why = format!("the client of this call has not said that it takes {}", kind.word());
            return Err(refusal(NO_METHOD, why).into());
        }
        let asked = timeout_at(self.until, self.respondent.ask(kind.method(), params)).await;
        let answer = match asked {
            Ok(Ok(answer)) if !answer.is_object() => {
                return Err(refusal(INTERNAL, "the client's answer is none of the protocol").into());
            }
            Ok(Ok(answer)) if answer.to_string().len() <= ANSWER_BYTES_MAX => answer,
            Ok(Ok(_)) => {
                return Err(
                    refusal(INTERNAL, format!("an answer has at most {ANSWER_BYTES_MAX} bytes")).into()
                );
            }
            Ok(Err(Unanswered { code, message })) => {
                return Err(NoAnswer { error: refusal(code, message), is_the_clients: true });
            }
            Err(_) => return Err(refusal(INTERNAL, "the client of this call did not answer in time").into()),
        };
        self.passed().answered.push(kind.method());
        Ok(answer)
    }

    /// What a receipt says of it: what was answered, and how much was not; none where nothing was asked. No digest: a form's
    /// answer can be guessed.
    pub(super) fn told(&self) -> Option<Value> {
        let passed = self.passed();
        let all = json!({"answered": passed.answered, "refused": passed.refused});
        (passed.asked > 0).then_some(all)
    }

    fn passed(&self) -> MutexGuard<'_, Passed> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Asking, Asks};

    #[test]
    fn a_kind_has_one_word_one_method_and_one_action() {
        for kind in Asking::ALL {
            assert_eq!(Asking::named(kind.word()), Some(kind));
            assert_eq!(Asking::of(kind.method()), Some(kind));
            assert_eq!(Asking::of_action(kind.action()), Some(kind));
        }
        let asks = Asks::from_iter([Asking::Roots, Asking::Sampling]);
        assert_eq!(asks.capabilities(|kind| kind != Asking::Roots), json!({"sampling": {}}));
    }

    #[test]
    fn what_wants_more_than_was_offered_is_not_asked() {
        let vet = |kind: Asking, params: Value| kind.vet(params.as_object().unwrap()).is_ok();
        assert!(vet(Asking::Elicitation, json!({"message": "?", "requestedSchema": {}})));
        assert!(vet(Asking::Elicitation, json!({"mode": "form"})));
        assert!(vet(Asking::Sampling, json!({"includeContext": "none"})));
        for (kind, bad) in [
            (Asking::Elicitation, json!({"mode": "url", "url": "https://evil.example"})),
            (Asking::Sampling, json!({"tools": []})),
            (Asking::Sampling, json!({"toolChoice": {}})),
            (Asking::Sampling, json!({"includeContext": "allServers"})),
            (Asking::Roots, json!({"task": {}})),
        ] {
            assert!(!vet(kind, bad.clone()), "{bad}");
        }
    }
}
