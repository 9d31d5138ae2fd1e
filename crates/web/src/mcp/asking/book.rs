//! The questions that wait for an answer, what each client has said that it takes, and the calls that are held meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use execgate_model::{Caller, Digest, Entropy, Unanswered};
use execgate_tool::upstream::Asking;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::sync::oneshot;

use super::held::Held;

/// The most sessions of which it is known what their clients take: of those of whom it is known who they are, and as many of
/// strangers, who begin as many as they like. Of one that was not used for longer it is not known any more, and it is asked
/// nothing.
const CLIENTS_MAX: usize = 4_096;

/// The most calls that are held, and those of one caller.
const HELD_MAX: usize = 256;
const HELD_OF_ONE_MAX: usize = 16;

/// What the name of a question begins with.
const NAME: &str = "execgate-ask-";

/// The code of an error whose own is none (JSON-RPC 2.0, 5.1: internal error).
const INTERNAL: i64 = -32_603;

/// What a client may be asked.
pub(in crate::mcp) type Takes = BTreeSet<Asking>;

/// What a client takes, by its capabilities (MCP 2025-11-25, lifecycle). One that has elicitation by page alone fills in no
/// form.
pub(in crate::mcp) fn takes(capabilities: &Value) -> Takes {
    let has = |kind: &Asking| match capabilities.get(kind.word()) {
        Some(Value::Object(said)) if *kind == Asking::Elicitation => {
            said.is_empty() || said.contains_key("form")
        }
        Some(said) => said.is_object(),
        None => false,
    };
    Asking::ALL.into_iter().filter(has).collect()
}

/// Whose something is: caller and session.
type Key = (String, String);

struct Open {
    key: Key,
    answer: oneshot::Sender<Result<Value, Unanswered>>,
}

#[derive(Default)]
struct Clients {
    /// When each was used, and what it takes.
    takes: HashMap<Key, (u64, Takes)>,
    /// By when they were used.
    order: BTreeMap<u64, Key>,
    last: u64,
}

impl Clients {
    fn meet(&mut self, key: Key, takes: Takes) {
        self.last += 1;
        if let Some((before, _)) = self.takes.insert(key.clone(), (self.last, takes)) {
            self.order.remove(&before);
        }
        self.order.insert(self.last, key);
        while self.order.len() > CLIENTS_MAX {
            if let Some((_, oldest)) = self.order.pop_first() {
                self.takes.remove(&oldest);
            }
        }
    }

    fn met(&mut self, key: &Key) -> Option<Takes> {
        let (used, takes) = self.takes.get_mut(key)?;
        self.last += 1;
        if let Some(key) = self.order.remove(used) {
            self.order.insert(self.last, key);
        }
        *used = self.last;
        Some(takes.clone())
    }
}

/// The sessions of strangers, so that they push out none of those of others, and the rest.
#[derive(Default)]
struct Shares {
    known: Clients,
    strangers: Clients,
}

impl Shares {
    fn of(&mut self, caller: &Caller) -> &mut Clients {
        if caller.is_identified() { &mut self.known } else { &mut self.strangers }
    }
}

/// The questions of one gateway.
#[derive(Default)]
pub(crate) struct Questions {
    open: Mutex<HashMap<String, Open>>,
    clients: Mutex<Shares>,
    held: Mutex<HashMap<String, Held>>,
}

/// A message that is an answer: to what, and which.
#[derive(Deserialize)]
pub(in crate::mcp) struct Said {
    id: String,
    method: Option<IgnoredAny>,
    result: Option<Value>,
    error: Option<Value>,
}

impl Said {
    /// Reads one; none for what is no answer to a question of ours.
    pub(in crate::mcp) fn of(line: &[u8]) -> Option<Self> {
        // Most of what comes is none, and is not read twice.
        line.windows(NAME.len()).any(|part| part == NAME.as_bytes()).then_some(())?;
        serde_json::from_slice(line).ok().filter(Self::is_answer)
    }

    fn is_answer(&self) -> bool {
        self.method.is_none() && self.result.is_some() != self.error.is_some() && self.id.starts_with(NAME)
    }

    fn outcome(self) -> Result<Value, Unanswered> {
        if let Some(result) = self.result {
            return Ok(result);
        }
        let error = self.error.unwrap_or_default();
        let code = error.get("code").and_then(Value::as_i64).unwrap_or(INTERNAL);
        let message = error.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
        Err(Unanswered { code, message })
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(caller: &Caller, session: &str) -> Option<Key> {
    Some((caller.scope()?.as_str().to_owned(), session.to_owned()))
}

/// A question that waits; it is taken back with this.
pub(super) struct Waits {
    questions: Arc<Questions>,
    pub(super) name: String,
    pub(super) answer: oneshot::Receiver<Result<Value, Unanswered>>,
}

impl Drop for Waits {
    fn drop(&mut self) {
        lock(&self.questions.open).remove(&self.name);
    }
}

impl Questions {
    /// Notes what the client of a session takes.
    pub(in crate::mcp) fn meet(&self, caller: &Caller, session: &str, takes: Takes) {
        let Some(key) = key(caller, session) else { return };
        lock(&self.clients).of(caller).meet(key, takes);
    }

    /// What the client of a session takes; nothing of one that is not known.
    pub(in crate::mcp) fn met(&self, caller: &Caller, session: &str) -> Takes {
        let key = key(caller, session);
        key.and_then(|key| lock(&self.clients).of(caller).met(&key)).unwrap_or_default()
    }

    /// A question to the client of a session, under a name that nobody can guess. None where nobody can be told from another.
    pub(super) fn begin(
        self: &Arc<Self>,
        caller: &Caller,
        session: &str,
        entropy: &dyn Entropy,
    ) -> Option<Waits> {
        let key = key(caller, session)?;
        let name = format!("{NAME}{}", token(entropy));
        let (answer, waits) = oneshot::channel();
        lock(&self.open).insert(name.clone(), Open { key, answer });
        Some(Waits { questions: Arc::clone(self), name, answer: waits })
    }

    /// Gives an answer to whoever has asked. False where nobody has asked this of this client in this session.
    pub(in crate::mcp) fn answer(&self, caller: &Caller, session: &str, said: Said) -> bool {
        let Some(key) = key(caller, session) else { return false };
        let open = {
            let mut open = lock(&self.open);
            match open.get(&said.id) {
                Some(found) if found.key == key => open.remove(&said.id),
                Some(_) | None => None,
            }
        };
        // Whoever has asked may have given it up in this moment.
        open.is_some_and(|open| open.answer.send(said.outcome()).is_ok())
    }

    /// Holds a call, under a name that nobody can guess. The call is given back where there is no room.
    pub(super) fn hold(&self, held: Held, entropy: &dyn Entropy) -> Result<String, Held> {
        let mut all = lock(&self.held);
        all.retain(|_, held| !held.is_over());
        let of_one = all.values().filter(|other| other.scope == held.scope).count();
        if all.len() >= HELD_MAX || of_one >= HELD_OF_ONE_MAX {
            return Err(held);
        }
        let name = format!("{}{}", super::held::STATE, token(entropy));
        all.insert(name.clone(), held);
        Ok(name)
    }

    /// Takes a held call out, where it is this caller's and the same call.
    pub(super) fn take(&self, name: &str, scope: &str, what: &str) -> Option<Held> {
        let mut all = lock(&self.held);
        let held = all.get(name).filter(|held| held.scope == scope && held.what == what);
        held.is_some().then(|| all.remove(name)).flatten()
    }
}

fn token(entropy: &dyn Entropy) -> String {
    Digest::from_bytes(entropy.thirty_two()).to_hex()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use execgate_model::{Caller, Entropy, Identity, TenantId};
    use execgate_tool::upstream::Asking;
    use serde_json::{Value, json};

    use super::{CLIENTS_MAX, Questions, Said, takes};

    struct Counts;

    impl Entropy for Counts {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    fn caller(id: &str) -> Caller {
        let identity = Identity::Session { id: id.to_owned(), is_new: false };
        Caller { tenant: TenantId::new("default").unwrap(), identity }
    }

    fn said(message: &Value) -> Option<Said> {
        Said::of(message.to_string().as_bytes())
    }

    #[test]
    fn a_client_takes_what_it_has_said() {
        let forms = takes(&json!({"sampling": {}, "elicitation": {"form": {}}, "roots": null}));
        assert_eq!(forms.into_iter().collect::<Vec<_>>(), [Asking::Sampling, Asking::Elicitation]);
        assert!(takes(&json!({"elicitation": {"url": {}}})).is_empty());
        assert_eq!(takes(&json!({"elicitation": {}})).len(), 1);
    }

    #[test]
    fn an_answer_counts_once_from_the_client_that_was_asked() {
        let questions = Arc::new(Questions::default());
        let mut waits = questions.begin(&caller("a"), "s", &Counts).unwrap();
        let answer = || said(&json!({"jsonrpc": "2.0", "id": waits.name, "result": {"a": 1}})).unwrap();
        assert!(!questions.answer(&caller("b"), "s", answer()));
        assert!(!questions.answer(&caller("a"), "t", answer()));
        assert!(questions.answer(&caller("a"), "s", answer()));
        assert!(!questions.answer(&caller("a"), "s", answer()));
        assert_eq!(waits.answer.try_recv().unwrap(), Ok(json!({"a": 1})));
        drop(waits);
        let gone = questions.begin(&caller("a"), "s", &Counts).unwrap().name.clone();
        let late = said(&json!({"jsonrpc": "2.0", "id": gone, "error": {"code": 1}})).unwrap();
        assert!(!questions.answer(&caller("a"), "s", late));
    }

    #[test]
    fn what_is_no_answer_of_ours_is_left_alone() {
        let name = format!("{}x", super::NAME);
        for other in [
            json!({"jsonrpc": "2.0", "id": 1, "result": {}}),
            json!({"jsonrpc": "2.0", "id": "a", "result": {"text": name}}),
            json!({"jsonrpc": "2.0", "id": name, "method": "ping"}),
            json!({"jsonrpc": "2.0", "id": name, "result": {}, "error": {}}),
        ] {
            assert!(said(&other).is_none(), "{other}");
        }
    }

    fn known() -> Caller {
        Caller { identity: Identity::Local, ..caller("") }
    }

    #[test]
    fn what_sessions_take_that_are_not_used_is_forgotten() {
        let questions = Questions::default();
        let roots = || takes(&json!({"roots": {}}));
        for number in 0..CLIENTS_MAX {
            questions.meet(&caller("a"), &number.to_string(), roots());
        }
        // What is used stays, and what begins anew.
        assert_eq!(questions.met(&caller("a"), "0").len(), 1);
        questions.meet(&caller("a"), "1", roots());
        questions.meet(&caller("a"), "new", roots());
        assert!(questions.met(&caller("a"), "2").is_empty());
        assert!(questions.met(&caller("b"), "3").is_empty());
        for kept in ["0", "1", "3", "new"] {
            assert_eq!(questions.met(&caller("a"), kept).len(), 1, "{kept}");
        }
    }

    #[test]
    fn strangers_push_out_nobody_who_is_known() {
        let questions = Questions::default();
        questions.meet(&known(), "s", takes(&json!({"roots": {}})));
        for number in 0..=CLIENTS_MAX {
            questions.meet(&caller(&number.to_string()), "s", takes(&json!({"roots": {}})));
        }
        assert!(questions.met(&caller("0"), "s").is_empty());
        assert_eq!(questions.met(&known(), "s").len(), 1);
    }
}
