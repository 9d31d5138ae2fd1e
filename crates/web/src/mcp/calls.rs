//! The calls that are under way, so that a message that comes by another request can end one: the revisions before
//! 2026-07-28 cancel so (`notifications/cancelled`). Nothing is kept of a session in which nothing is called.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use execgate_model::Caller;
use execgate_tool::Cancel;
use serde_json::Value;

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

/// The calls of one gateway that are under way.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    open: Open,
    /// The sessions that were ended last, the oldest in front.
    ended: Mutex<VecDeque<(String, String)>>,
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
        Some(OpenCall { open: Arc::clone(&self.open), key })
    }

    /// Asks for the end of a call, where it is under way.
    pub(crate) fn cancel(&self, caller: &Caller, session: &str, id: &Value) {
        let Some(key) = key(caller, session, id) else { return };
        if let Some(cancel) = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            cancel.cancel();
        }
    }

    /// Asks for the end of every call of a session, which is not known any more from then on.
    pub(crate) fn end(&self, caller: &Caller, session: &str) {
        let Some(Key { scope, session, .. }) = key(caller, session, &Value::from(0)) else { return };
        for (key, cancel) in self.open.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if key.scope == scope && key.session == session {
                cancel.cancel();
            }
        }
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.len() >= ENDED_MAX {
            ended.pop_front();
        }
        ended.push_back((scope, session));
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

    use super::Calls;

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
    }

    #[test]
    fn nothing_is_kept_of_calls_that_have_ended() {
        let calls = Calls::default();
        drop(calls.begin(&caller("a"), "s", &json!(1), &Cancel::default()));
        assert!(calls.open.lock().unwrap().is_empty());
    }
}
