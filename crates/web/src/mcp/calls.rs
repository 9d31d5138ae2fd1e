//! The calls that are under way, so that a message that comes by another request can end one: the revisions before
//! 2026-07-28 cancel so (`notifications/cancelled`). Nothing is kept of a session in which nothing is called.

use core::time::Duration;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use execgate_model::Caller;
use execgate_tool::Cancel;
use serde_json::Value;
use tokio::time::Instant;

/// Whose call it is: caller, session, and the identifier that the client gave it, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    scope: String,
    session: String,
    id: String,
}

type Open = Arc<Mutex<HashMap<Key, Cancel>>>;

/// The most sessions of which it is known that their clients have ended them. A client that goes on with an older one is
/// served.
const ENDED_MAX: usize = 4096;

/// For how long it is known that a call was cancelled which had not come yet: the two are requests of their own, and the second
/// may be read first. A client never gives a name twice (MCP 2025-11-25, basic), so that no other call is meant.
const EARLY: Duration = Duration::from_secs(5);

/// The most of them, and the longest name of one, in bytes as JSON.
const EARLY_MAX: usize = 1_024;
const EARLY_ID_MAX: usize = 256;

/// The calls of one gateway that are under way.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    open: Open,
    /// The sessions that were ended last, the oldest in front.
    ended: Mutex<VecDeque<(String, String)>>,
    /// Those that were cancelled before they came, the oldest in front.
    early: Mutex<VecDeque<(Instant, Key)>>,
}

/// One of them, for as long as this is kept.
#[derive(Debug)]
pub(crate) struct OpenCall {
    open: Open,
    key: Key,
}

impl Calls {
    /// Takes note of a call. None where one of that name is under way already: a client that gives two the same name ends
    /// neither.
    pub(crate) fn begin(
        &self,
        caller: &Caller,
        session: &str,
        id: &Value,
        cancel: &Cancel,
    ) -> Option<OpenCall> {
        let key = key(caller, session, id)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.contains_key(&key) {
            return None;
        }
        open.insert(key.clone(), cancel.clone());
        drop(open);
        // It may have been cancelled, or its session ended, while it was read.
        if self.was_cancelled(&key) || self.has_ended(caller, session) {
            cancel.cancel();
        }
        Some(OpenCall { open: Arc::clone(&self.open), key })
    }

    /// Asks for the end of a call: one that is under way, or that comes in a moment.
    pub(crate) fn cancel(&self, caller: &Caller, session: &str, id: &Value) {
        let Some(key) = key(caller, session, id) else { return };
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cancel) = open.get(&key) {
            cancel.cancel();
        } else if key.id.len() <= EARLY_ID_MAX {
            // While nothing begins: whatever does so later looks here.
            let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
            if early.len() >= EARLY_MAX {
                early.pop_front();
            }
            early.push_back((Instant::now(), key));
        }
    }

    /// Whether a call was cancelled before it came; once.
    fn was_cancelled(&self, key: &Key) -> bool {
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        early.retain(|(since, _)| since.elapsed() < EARLY);
        let found = early.iter().position(|(_, cancelled)| cancelled == key);
        found.and_then(|at| early.remove(at)).is_some()
    }

    /// Asks for the end of every call of a session, which is not known any more from then on.
    pub(crate) fn end(&self, caller: &Caller, session: &str) {
        let Some(Key { scope, session, .. }) = key(caller, session, &Value::from(0)) else { return };
        {
            // Before the calls are looked through: one that begins meanwhile looks here.
            let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            if ended.len() >= ENDED_MAX {
                ended.pop_front();
            }
            ended.push_back((scope.clone(), session.clone()));
        }
        for (key, cancel) in self.open.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if key.scope == scope && key.session == session {
                cancel.cancel();
            }
        }
    }

    /// Whether a client has ended this session of its.
    pub(crate) fn has_ended(&self, caller: &Caller, session: &str) -> bool {
        let Some(scope) = caller.scope() else { return false };
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.iter().any(|(of, ended)| ended == session && of == scope.as_str())
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// None where nobody can be told from another.
fn key(caller: &Caller, session: &str, id: &Value) -> Option<Key> {
    let scope = caller.scope()?.as_str().to_owned();
    Some(Key { scope, session: session.to_owned(), id: id.to_string() })
}

#[cfg(test)]
mod tests {
    use execgate_model::{Caller, Identity, TenantId};
    use execgate_tool::Cancel;
    use serde_json::json;
    use tokio::time::{advance, pause};

    use super::{Calls, EARLY, EARLY_ID_MAX, EARLY_MAX};

    fn caller(id: &str) -> Caller {
        let identity = Identity::Session { id: id.to_owned(), is_new: false };
        Caller { tenant: TenantId::new("default").unwrap(), identity }
    }

    #[test]
    fn only_its_own_caller_ends_a_call_in_its_own_session() {
        let (calls, cancel) = (Calls::default(), Cancel::default());
        let open = calls.begin(&caller("a"), "s", &json!(1), &cancel).unwrap();
        for (who, session, id) in [("b", "s", json!(1)), ("a", "t", json!(1)), ("a", "s", json!("1"))] {
            calls.cancel(&caller(who), session, &id);
        }
        calls.end(&caller("b"), "s");
        assert!(!cancel.is_cancelled());
        assert!(calls.begin(&caller("a"), "s", &json!(1), &Cancel::default()).is_none());
        calls.cancel(&caller("a"), "s", &json!(1));
        assert!(cancel.is_cancelled());
        drop(open);
        let again = Cancel::default();
        let _open = calls.begin(&caller("a"), "s", &json!(1), &again).unwrap();
        assert!(!calls.has_ended(&caller("a"), "s"));
        calls.end(&caller("a"), "s");
        assert!(again.is_cancelled() && calls.has_ended(&caller("a"), "s"));
        // One that was on its way when its session was ended.
        let late = Cancel::default();
        let _late = calls.begin(&caller("a"), "s", &json!(2), &late).unwrap();
        assert!(late.is_cancelled());
    }

    #[tokio::test]
    async fn a_call_that_was_cancelled_before_it_came_is_cancelled_and_no_other() {
        pause();
        let (calls, a) = (Calls::default(), caller("a"));
        calls.cancel(&a, "s", &json!(1));
        let begun = |who: &Caller, session: &str, id| {
            let cancel = Cancel::default();
            let open = calls.begin(who, session, &id, &cancel);
            (open.is_some(), cancel.is_cancelled())
        };
        assert_eq!(begun(&caller("b"), "s", json!(1)), (true, false));
        assert_eq!(begun(&a, "t", json!(1)), (true, false));
        assert_eq!(begun(&a, "s", json!("1")), (true, false));
        assert_eq!(begun(&a, "s", json!(1)), (true, true));
        assert_eq!(begun(&a, "s", json!(1)), (true, false));
        calls.cancel(&a, "s", &json!(2));
        advance(EARLY).await;
        assert_eq!(begun(&a, "s", json!(2)), (true, false));
        for id in 0..2 * EARLY_MAX {
            calls.cancel(&a, "s", &json!(id));
        }
        calls.cancel(&a, "s", &json!("x".repeat(EARLY_ID_MAX)));
        assert_eq!(calls.early.lock().unwrap().len(), EARLY_MAX);
    }

    #[test]
    fn nothing_is_kept_of_calls_that_have_ended() {
        let calls = Calls::default();
        drop(calls.begin(&caller("a"), "s", &json!(1), &Cancel::default()));
        assert!(calls.open.lock().unwrap().is_empty());
    }
}
