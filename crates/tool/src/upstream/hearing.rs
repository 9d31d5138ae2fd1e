//! What a server says in a conversation, and to whom it comes: answers to whoever asked, questions to the client of the call
//! that they belong to, and the rest to everybody or to nobody.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use execgate_model::{Progress, Watcher};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::asking::{CallAsks, not_allowed, not_now, outside_a_call};
use super::client::AskError;
use super::connect::Connect;
use super::link::{Inbound, Outbound};
use super::message::{Message, RpcError, looks_like_one, read};
use super::reading::Reading;

/// Things that make no sense and are borne in one conversation: answers to nothing, lines that are no messages.
const STRIKES_MAX: usize = 64;

/// Questions that were given up, and whose late answers are no strikes.
const GIVEN_UP_MAX: usize = 1_024;

/// Questions of one server that wait for an answer of some client at once.
const QUESTIONS_MAX: usize = 64;

/// The longest name of a question, in bytes as it is written in JSON. The answer has it again, and it is kept meanwhile.
const NAME_BYTES_MAX: usize = 1 << 10;

/// What a server of the stateless kind says when it begins to tell of changes.
const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";

/// Something that a server told everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Heard {
    /// How often it said that its tools have changed, or may have.
    pub(super) tools: u64,
    /// The same of its resources, and of its prompts.
    resources: u64,
    prompts: u64,
    /// Whether it has ended.
    pub(super) has_ended: bool,
}

impl Heard {
    /// How often it said that of this.
    pub(super) const fn of(self, reading: Reading) -> u64 {
        match reading {
            Reading::Resource => self.resources,
            Reading::Prompt => self.prompts,
        }
    }

    /// It may have said something that nobody has heard.
    const fn miss(&mut self) {
        self.tools += 1;
        self.resources += 1;
        self.prompts += 1;
    }
}

#[derive(Default)]
pub(super) struct Asked {
    pub(super) waiting: HashMap<u64, Waiting>,
    given_up: VecDeque<u64>,
    pub(super) last: u64,
    strikes: usize,
    pub(super) ended: Option<String>,
    /// What the server asks by now, by its own names.
    questions: HashSet<String>,
}

pub(super) struct Waiting {
    pub(super) answer: oneshot::Sender<Result<Value, AskError>>,
    pub(super) watcher: Option<Watcher>,
    /// Whether it is a call, and no list or greeting.
    pub(super) is_call: bool,
    /// Its client, where that can be asked.
    pub(super) asks: Option<Arc<CallAsks>>,
}

/// What both ends of a conversation know.
#[derive(Default)]
pub(super) struct Shared {
    asked: Mutex<Asked>,
    pub(super) heard: watch::Sender<Heard>,
    /// Whether several callers have their calls in it.
    is_shared: bool,
    /// Whether anything may be asked in it.
    may_ask: bool,
}

impl Shared {
    pub(super) fn new(is_shared: bool, may_ask: bool) -> Self {
        Self { is_shared, may_ask, ..Self::default() }
    }

    pub(super) fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the conversation: what waits is lost.
    fn end(&self, why: &str) {
        let waiting = {
            let mut asked = self.asked();
            asked.ended.get_or_insert_with(|| why.to_owned());
            core::mem::take(&mut asked.waiting)
        };
        for waiting in waiting.into_values() {
            drop(waiting.answer.send(Err(AskError::Lost(format!("the server is gone: {why}")))));
        }
        self.heard.send_modify(|heard| heard.has_ended = true);
    }

    /// One strike more; whether that is too many.
    fn strike(&self) -> bool {
        let mut asked = self.asked();
        asked.strikes += 1;
        asked.strikes > STRIKES_MAX
    }

    /// Nobody waits for this answer any more.
    pub(super) fn give_up(&self, id: u64) {
        let mut asked = self.asked();
        asked.waiting.remove(&id);
        asked.given_up.push_back(id);
        if asked.given_up.len() > GIVEN_UP_MAX {
            asked.given_up.pop_front();
        }
    }

    /// The call that a question belongs to. Where the line does not tell, it is the one that is under way in a conversation of
    /// one caller; never one of several.
    fn call_of(&self, within: Option<u64>) -> Option<Arc<CallAsks>> {
        let asked = self.asked();
        let waiting = match within {
            Some(id) => asked.waiting.get(&id)?,
            None if self.is_shared => return None,
            None => {
                let mut calls = asked.waiting.values().filter(|waiting| waiting.is_call);
                let one = calls.next()?;
                if calls.next().is_some() {
                    return None;
                }
                one
            }
        };
        waiting.asks.clone()
    }
}

/// Hears what a server says, until it has ended.
pub(super) async fn hear(
    shared: &Arc<Shared>,
    connect: &dyn Connect,
    mut inbound: mpsc::Receiver<Inbound>,
    replies: mpsc::Sender<Outbound>,
) {
    // What is asked ends with whoever hears it.
    let mut questions = JoinSet::new();
    let why = loop {
        let next = tokio::select! {
            next = inbound.recv() => next,
            Some(_) = questions.join_next() => continue,
        };
        match next {
            None => break "the line is closed".to_owned(),
            Some(Inbound::Ended(why)) => break why,
            Some(Inbound::Failed { id, error }) => {
                if let Some(waiting) = shared.asked().waiting.remove(&id) {
                    drop(waiting.answer.send(Err(error)));
                }
            }
            Some(Inbound::Missed) => shared.heard.send_modify(Heard::miss),
            Some(Inbound::Frame { frame, within }) => {
                let mut ear = Ear { shared, connect, replies: &replies, questions: &mut questions };
                if let Err(why) = ear.take(&frame, within) {
                    break why;
                }
            }
        }
    };
    shared.end(&why);
}

struct Ear<'h> {
    shared: &'h Arc<Shared>,
    connect: &'h dyn Connect,
    replies: &'h mpsc::Sender<Outbound>,
    questions: &'h mut JoinSet<()>,
}

impl Ear<'_> {
    /// Takes one frame; what cannot be borne ends the conversation. Secrets are taken out here, once, before anybody sees it.
    fn take(&mut self, frame: &[u8], within: Option<u64>) -> Result<(), String> {
        match read(frame, |value| self.connect.clean(value)) {
            None if looks_like_one(frame) => {
                // Somebody may wait for just this.
                Err("it sent a message that cannot be read".to_owned())
            }
            None | Some(Message::Stray) => borne(self.shared.strike()),
            Some(Message::Answer { id, outcome }) => self.answered(id, outcome),
            Some(Message::Request { id, method, params }) => self.asked(id, method, params, within),
            Some(Message::Notification { method, params }) => {
                notice(self.shared, &method, &params);
                Ok(())
            }
        }
    }

    fn answered(&self, id: u64, outcome: Result<Value, RpcError>) -> Result<(), String> {
        let waiting = {
            let mut asked = self.shared.asked();
            let given_up = asked.given_up.iter().position(|given_up| *given_up == id);
            if let Some(at) = given_up {
                asked.given_up.remove(at);
                return Ok(());
            }
            asked.waiting.remove(&id)
        };
        match waiting {
            // A second answer comes to nobody: the first one counts.
            None => borne(self.shared.strike()),
            Some(waiting) => {
                drop(waiting.answer.send(outcome.map_err(AskError::Rpc)));
                Ok(())
            }
        }
    }

    /// Has a question answered: at once where it is refused, and by the client of its call where it is not.
    fn asked(&mut self, id: Value, method: String, params: Value, within: Option<u64>) -> Result<(), String> {
        let name = id.to_string();
        if name.len() > NAME_BYTES_MAX {
            // An answer would have to repeat it.
            return borne(self.shared.strike());
        }
        if method == "ping" {
            return self.reply(&id, Ok(json!({})));
        }
        if !self.shared.may_ask {
            return self.reply(&id, Err(not_allowed()));
        }
        let Some(call) = self.shared.call_of(within) else { return self.reply(&id, Err(outside_a_call())) };
        {
            let mut asked = self.shared.asked();
            if asked.questions.len() >= QUESTIONS_MAX || !asked.questions.insert(name.clone()) {
                drop(asked);
                return self.reply(&id, Err(not_now()));
            }
        }
        let (shared, replies) = (Arc::clone(self.shared), self.replies.clone());
        self.questions.spawn(async move {
            let told = call.ask(&method, params).await;
            // It is under way until there is room for its answer: a server that does not read has no room for more of them.
            let room = replies.reserve().await;
            shared.asked().questions.remove(&name);
            // A line that is gone needs no answer.
            if let Ok(room) = room {
                room.send(reply(&id, told));
            }
        });
        Ok(())
    }

    fn reply(&self, id: &Value, told: Result<Value, RpcError>) -> Result<(), String> {
        // One that asks faster than it reads is not waited for.
        borne(self.replies.try_send(reply(id, told)).is_err() && self.shared.strike())
    }
}

fn borne(is_too_many: bool) -> Result<(), String> {
    if is_too_many { Err("it sends too much that makes no sense".to_owned()) } else { Ok(()) }
}

fn reply(id: &Value, told: Result<Value, RpcError>) -> Outbound {
    let reply = match told {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(error) => json!({"jsonrpc": "2.0", "id": id, "error": error.into_json()}),
    };
    Outbound::new(None, "reply", reply.to_string())
}

fn notice(shared: &Shared, method: &str, params: &Value) {
    match method {
        "notifications/tools/list_changed" => shared.heard.send_modify(|heard| heard.tools += 1),
        "notifications/resources/list_changed" => shared.heard.send_modify(|heard| heard.resources += 1),
        "notifications/prompts/list_changed" => shared.heard.send_modify(|heard| heard.prompts += 1),
        // From here on it is heard (MCP 2026-07-28, subscriptions); what was before is not known.
        ACKNOWLEDGED => shared.heard.send_modify(Heard::miss),
        "notifications/progress" => {
            let Some(token) = params.get("progressToken").and_then(Value::as_u64) else { return };
            let watcher = shared.asked().waiting.get(&token).and_then(|waiting| waiting.watcher.clone());
            if let Some(watcher) = watcher {
                let message = params.get("message").and_then(Value::as_str).unwrap_or_default();
                let number = |name: &str| params.get(name).and_then(Value::as_f64);
                let (total, number) = (number("total"), number("progress").unwrap_or_default());
                watcher.see(Progress::Step { number, total, message });
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::sync::Arc;

    use execgate_model::{BoxFuture, Respondent, Unanswered};
    use serde_json::{Value, json};
    use tokio::sync::{mpsc, oneshot};
    use tokio::time::Instant;

    use super::super::asking::{Asking, CallAsks};
    use super::super::tests::{Scripted, line, sane};
    use super::{Inbound, Outbound, QUESTIONS_MAX, STRIKES_MAX, Shared, Waiting, hear};

    /// A client that answers at once.
    struct Quick;

    impl Respondent for Quick {
        fn takes(&self, _method: &str) -> bool {
            true
        }

        fn ask<'a>(&'a self, _method: &'a str, _params: Value) -> BoxFuture<'a, Result<Value, Unanswered>> {
            Box::pin(async { Ok(json!({})) })
        }
    }

    /// A conversation with one call under way, whose answers wait in a queue of this length.
    fn heard(room: usize) -> (Arc<Shared>, mpsc::Sender<Inbound>, mpsc::Receiver<Outbound>) {
        let shared = Arc::new(Shared::new(false, true));
        let until = Instant::now() + Duration::from_hours(1);
        let asks = CallAsks::new(Asking::ALL.into_iter().collect(), Arc::new(Quick), until);
        let (answer, _) = oneshot::channel();
        let call = Waiting { answer, watcher: None, is_call: true, asks: Some(Arc::new(asks)) };
        shared.asked().waiting.insert(1, call);
        let (says, inbound) = mpsc::channel(1);
        let (replies, answers) = mpsc::channel(room);
        let ear = Arc::clone(&shared);
        tokio::spawn(async move { hear(&ear, &Scripted(sane(|_| None)), inbound, replies).await });
        (shared, says, answers)
    }

    fn asks(id: &Value, method: &str) -> Inbound {
        let frame = line(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {}}));
        Inbound::Frame { frame, within: None }
    }

    #[tokio::test]
    async fn a_server_that_reads_no_answer_has_a_bound_of_questions() {
        let (shared, says, answers) = heard(1);
        // One answer is in the queue, as many questions as may be wait for room, and the rest are strikes.
        let bound = 1 + QUESTIONS_MAX + STRIKES_MAX + 1;
        let mut said = 0;
        while said < 4 * bound && says.send(asks(&json!(said), "sampling/createMessage")).await.is_ok() {
            assert!(shared.asked().questions.len() <= QUESTIONS_MAX);
            said += 1;
        }
        // One more may be on its way when the conversation ends.
        assert!(said <= bound + 1, "{said}");
        assert!(shared.asked().ended.as_ref().is_some_and(|why| why.contains("makes no sense")));
        drop(answers);
    }

    #[tokio::test]
    async fn a_name_that_is_too_long_is_not_said_again() {
        let (shared, says, mut answers) = heard(1);
        says.send(asks(&json!("x".repeat(1 << 10)), "ping")).await.unwrap();
        says.send(asks(&json!("x".repeat(1 << 10)), "roots/list")).await.unwrap();
        says.send(asks(&json!("short"), "ping")).await.unwrap();
        let answer: Value = serde_json::from_slice(&answers.recv().await.unwrap().frame).unwrap();
        assert_eq!(answer["id"], "short");
        assert_eq!(shared.asked().strikes, 2);
    }
}
