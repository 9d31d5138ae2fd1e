//! One conversation with a server: it is greeted, asked, and its answers are given to whoever asked.
//!
//! What it says is heard in [`hearing`](super::hearing); what it may ask of clients it is told when it is greeted. The end of
//! a conversation ends every question that is under way, and nobody can tell what became of it.

use core::time::Duration;
use std::sync::Arc;

use execgate_model::Watcher;
use hyper::header::HeaderMap;
use serde_json::{Map, Value, json};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncGuard, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::asking::{Asks, CallAsks};
use super::connect::{Connect, ConnectError};
use super::entry::Digester;
use super::hearing::{Heard, Shared, Waiting, hear};
use super::link::{Link, Outbound, Told};
use super::listening::UNKNOWN_METHOD;
use super::message::RpcError;
use super::offer::{Hello, Offer};

/// The revision that is asked for first; every server that is not of the stateless kind knows it or says another.
const REVISION: &str = "2025-11-25";

/// The stateless revision (MCP 2026-07-28).
pub(super) const REVISION_STATELESS: &str = "2026-07-28";

/// The revisions that a server may answer with.
const REVISIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", REVISION];

/// Where a request of that revision says what its client takes.
const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// How long a server may take to be there: one that is installed as it starts takes a while.
const GREETS_WITHIN: Duration = Duration::from_mins(1);

/// How long one may take to say that it is of the stateless kind, before it is greeted as one that is not.
const DISCOVERS_WITHIN: Duration = Duration::from_secs(15);

/// What a server of the stateless kind is asked first.
pub(super) const DISCOVER: &str = "server/discover";

/// How long a page of a list may take.
const LISTS_WITHIN: Duration = Duration::from_secs(30);

/// How long a call waits for the list of tools that its server has said to have changed.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);

/// Pages and items of a list.
const PAGES_MAX: usize = 64;
const TOOLS_MAX: usize = 2_048;

/// Bytes of one item of a list, and of all of them, as JSON.
const ITEM_BYTES_MAX: usize = 256 << 10;
const LIST_BYTES_MAX: usize = 16 << 20;

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum AskError {
    /// The server said no.
    Rpc(RpcError),
    /// The server refused the request below the protocol, by a status of HTTP. Final, as an error of the protocol is.
    Refused(RpcError),
    /// It was not sent.
    NotSent(String),
    /// It was sent, and nothing will come.
    Lost(String),
    /// It was sent, and nothing came in time.
    Slow,
}

impl AskError {
    fn told(self) -> String {
        match self {
            Self::Rpc(error) => format!("it answers with the error {} ({:?})", error.code, error.message),
            Self::Refused(error) => error.message,
            Self::NotSent(why) | Self::Lost(why) => why,
            Self::Slow => "it does not answer".to_owned(),
        }
    }
}

/// Why there is no list.
enum Listless {
    /// It does not know what it is asked for (JSON-RPC 2.0, 5.1).
    Unknown,
    Failed,
}

impl Listless {
    fn of(error: &AskError) -> Self {
        match error {
            AskError::Rpc(error) if error.code == UNKNOWN_METHOD => Self::Unknown,
            AskError::Rpc(_)
            | AskError::Refused(_)
            | AskError::NotSent(_)
            | AskError::Lost(_)
            | AskError::Slow => Self::Failed,
        }
    }
}

/// What a server is told of its clients, and who has a conversation with it.
#[derive(Debug, Clone, Default)]
pub(super) struct Manner {
    /// What it may ask of them.
    pub(super) asks: Asks,
    /// Whether several callers have their calls in one conversation.
    pub(super) is_shared: bool,
}

/// How one question is asked.
#[derive(Default)]
pub(super) struct Manners {
    /// Arguments that are said in the head of a request, too.
    pub(super) mirrored: HeaderMap,
    /// Who sees how it goes on.
    pub(super) watcher: Option<Watcher>,
    /// Of a call: who can be asked within it, where somebody can.
    pub(super) call: Option<Option<Arc<CallAsks>>>,
}

/// A conversation.
pub(super) struct Client {
    shared: Arc<Shared>,
    asks: Asks,
    /// Where a question does not say to which call it belongs, there is one call at a time.
    turn: Option<AsyncMutex<()>>,
    outbound: mpsc::Sender<Outbound>,
    hello: Hello,
    is_stateless: bool,
    /// How often it had said that its tools have changed, when those that are known were listed.
    listed: watch::Sender<u64>,
    told: Option<Told>,
    _tasks: JoinSet<()>,
}

impl Client {
    /// Greets a server. What it says is without what `connect` takes out.
    pub(super) async fn greet(
        link: Link,
        connect: Arc<dyn Connect>,
        manner: Manner,
    ) -> Result<Self, ConnectError> {
        let Link { outbound, inbound, mut hold, tells_apart, tries_stateless } = link;
        let told = hold.told.take();
        let Manner { asks, is_shared } = manner;
        let shared = Arc::new(Shared::new(is_shared, !asks.is_empty()));
        let turn = (!asks.is_empty() && !tells_apart).then(AsyncMutex::default);
        let mut tasks = JoinSet::new();
        let (heard, replies) = (Arc::clone(&shared), outbound.clone());
        tasks.spawn(async move {
            hear(&heard, connect.as_ref(), inbound, replies).await;
            // What keeps the line open goes with whoever hears it.
            drop(hold);
        });
        let mut client = Self {
            shared,
            asks,
            turn,
            outbound,
            hello: Hello::default(),
            is_stateless: false,
            listed: watch::Sender::new(0),
            told,
            _tasks: tasks,
        };
        let hello = timeout(GREETS_WITHIN, client.greeted(tries_stateless)).await;
        (client.hello, client.is_stateless) =
            hello.map_err(|_| ConnectError("it does not answer when it is greeted".to_owned()))??;
        Ok(client)
    }

    async fn greeted(&self, tries_stateless: bool) -> Result<(Hello, bool), ConnectError> {
        if tries_stateless && let Some(hello) = self.discovered().await? {
            return Ok((hello, true));
        }
        let us = json!({"name": "execgate", "version": env!("CARGO_PKG_VERSION")});
        let offered = self.asks.capabilities(|_| true);
        let greeting = json!({"protocolVersion": REVISION, "capabilities": offered, "clientInfo": us});
        let result = match self.ask("initialize", greeting, GREETS_WITHIN).await {
            Ok(result) => result,
            // One of the stateless kind knows no greeting (MCP 2026-07-28, versioning).
            Err(AskError::Rpc(_) | AskError::Refused(_)) if !tries_stateless => {
                let found = self.ask(DISCOVER, json!({"_meta": self.stateless_meta()}), GREETS_WITHIN).await;
                let found = found.map_err(|error| ConnectError(error.told()))?;
                return Ok((Hello::read(REVISION_STATELESS, &found), true));
            }
            Err(error) => return Err(ConnectError(error.told())),
        };
        let revision = result.get("protocolVersion").and_then(Value::as_str).unwrap_or_default();
        if !REVISIONS.contains(&revision) {
            return Err(ConnectError(format!(
                "it speaks the revision {revision:?}, which is not known here"
            )));
        }
        self.tell("notifications/initialized", json!({})).await;
        Ok((Hello::read(revision, &result), false))
    }

    /// What a server of the stateless kind says of itself; none for one that is not. Asked first where a question that is not
    /// understood harms nothing.
    async fn discovered(&self) -> Result<Option<Hello>, ConnectError> {
        let mut found = self.ask(DISCOVER, json!({"_meta": self.stateless_meta()}), DISCOVERS_WITHIN).await;
        // One that refused the revision, and names it among those that it has, is taken at its word, once.
        if found.as_ref().is_err_and(supports_stateless) {
            found = self.ask(DISCOVER, json!({"_meta": self.stateless_meta()}), DISCOVERS_WITHIN).await;
        }
        match found {
            Ok(found) => {
                let versions = found.get("supportedVersions").and_then(Value::as_array);
                let is_stateless =
                    versions.is_some_and(|all| all.iter().any(|one| one == REVISION_STATELESS));
                Ok(is_stateless.then(|| Hello::read(REVISION_STATELESS, &found)))
            }
            Err(error @ AskError::NotSent(_)) => Err(ConnectError(error.told())),
            // Servers of before answer in many ways what they do not know.
            Err(AskError::Rpc(_) | AskError::Refused(_) | AskError::Lost(_) | AskError::Slow) => Ok(None),
        }
    }

    /// What it tells.
    pub(super) fn heard(&self) -> watch::Receiver<Heard> {
        self.shared.heard.subscribe()
    }

    /// What holds just this process, for receipts.
    pub(super) fn held_by(&self) -> Map<String, Value> {
        self.told.as_ref().map(|told| told()).unwrap_or_default()
    }

    /// Whether it has said since its tools were listed that they have changed.
    pub(super) fn is_behind(&self) -> bool {
        self.shared.heard.borrow().tools != *self.listed.borrow()
    }

    /// What was listed when it had said so this often counts from now on.
    pub(super) fn has_listed(&self, as_of: u64) {
        self.listed.send_replace(as_of);
    }

    /// Waits until its tools are known as they are by what it has said up to now. False where they are not to be had.
    pub(super) async fn is_known(&self) -> bool {
        let (mut listed, mut heard) = (self.listed.subscribe(), self.shared.heard.subscribe());
        let said = heard.borrow().tools;
        if *listed.borrow() >= said {
            return true;
        }
        let known = timeout(KNOWN_WITHIN, listed.wait_for(|as_of| *as_of >= said));
        tokio::select! {
            known = known => known.is_ok_and(|known| known.is_ok()),
            _ = heard.wait_for(|heard| heard.has_ended) => false,
        }
    }

    /// What it said when it was greeted.
    pub(super) const fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Whether each question stands for itself with it (MCP 2026-07-28).
    pub(super) const fn is_stateless(&self) -> bool {
        self.is_stateless
    }

    /// Why it has ended, if it has.
    pub(super) fn ended(&self) -> Option<String> {
        self.shared.asked().ended.clone()
    }

    /// All that it offers, and how often it had said that its tools have changed when it was asked.
    pub(super) async fn offer(&self, digester: Digester) -> Result<(Offer, u64), ConnectError> {
        let as_of = self.shared.heard.borrow().tools;
        let listed =
            if self.hello.can("tools") { self.list("tools/list", "tools").await? } else { Vec::new() };
        Ok((Offer::new(self.hello.clone(), listed, digester), as_of))
    }

    /// A list, page by page.
    pub(super) async fn list(&self, method: &str, of: &str) -> Result<Vec<Value>, ConnectError> {
        self.pages(method, of).await.map_err(|(_, error)| error)
    }

    /// The same; none where it has no such list.
    pub(super) async fn list_if_there(
        &self,
        method: &str,
        of: &str,
    ) -> Result<Option<Vec<Value>>, ConnectError> {
        match self.pages(method, of).await {
            Ok(all) => Ok(Some(all)),
            Err((Listless::Unknown, _)) => Ok(None),
            Err((Listless::Failed, error)) => Err(error),
        }
    }

    async fn pages(&self, method: &str, of: &str) -> Result<Vec<Value>, (Listless, ConnectError)> {
        let failed = |why: String| (Listless::Failed, ConnectError(why));
        let (mut all, mut cursor, mut bytes) = (Vec::new(), None::<Value>, 0_usize);
        for _ in 0..PAGES_MAX {
            let params = cursor.take().map_or_else(|| json!({}), |cursor| json!({"cursor": cursor}));
            let page = self.ask(method, params, LISTS_WITHIN).await;
            let mut page = page.map_err(|error| (Listless::of(&error), ConnectError(error.told())))?;
            if let Some(Value::Array(items)) = page.get_mut(of).map(Value::take) {
                let more = size(&items, of).map_err(|error| (Listless::Failed, error))?;
                bytes = bytes.saturating_add(more);
                all.extend(items);
            }
            if all.len() > TOOLS_MAX {
                return Err(failed(format!("it lists more than {TOOLS_MAX} {of}")));
            }
            if bytes > LIST_BYTES_MAX {
                return Err(failed(format!("its list of {of} has more than {LIST_BYTES_MAX} bytes")));
            }
            cursor = page.get_mut("nextCursor").map(Value::take).filter(Value::is_string);
            if cursor.is_none() {
                return Ok(all);
            }
        }
        Err(failed(format!("its list of {of} has more than {PAGES_MAX} pages")))
    }

    /// The turn of one call, where there is one call at a time.
    pub(super) async fn turn(&self) -> Option<AsyncGuard<'_, ()>> {
        match &self.turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        }
    }

    /// Asks, with an object, and waits for the answer. Dropping the future gives the question up, and tells the server so.
    pub(super) async fn ask(&self, method: &str, params: Value, within: Duration) -> Result<Value, AskError> {
        self.ask_so(method, params, within, Manners::default()).await
    }

    /// The same, in a manner of its own.
    pub(super) async fn ask_so(
        &self,
        method: &str,
        mut params: Value,
        within: Duration,
        manners: Manners,
    ) -> Result<Value, AskError> {
        let Manners { mirrored, watcher, call } = manners;
        let watcher = watcher.filter(Watcher::sees);
        let (is_call, asks) = (call.is_some(), call.flatten());
        let deadline = Instant::now() + within;
        let (answer, answered) = oneshot::channel();
        let id = {
            let mut asked = self.shared.asked();
            if let Some(why) = &asked.ended {
                return Err(AskError::NotSent(format!("the server is gone: {why}")));
            }
            asked.last += 1;
            let id = asked.last;
            if watcher.is_some() {
                say(&mut params, &json!({"progressToken": id}));
            }
            asked.waiting.insert(id, Waiting { answer, watcher, is_call, asks: asks.clone() });
            id
        };
        if self.is_stateless {
            let mut meta = self.stateless_meta();
            if is_call {
                let takes = asks.as_ref().map_or_else(|| json!({}), |asks| asks.capabilities());
                meta[CLIENT_CAPABILITIES] = takes;
            }
            say(&mut params, &meta);
        }
        let name =
            params.get("name").or_else(|| params.get("uri")).and_then(Value::as_str).map(str::to_owned);
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let (tells, answered_yet) = oneshot::channel();
        let mut given_up = GivesUp { client: self, id, tells: Some(tells) };
        let frame = Outbound { name, mirrored, ..Outbound::new(Some(id), method, message.to_string()) };
        let frame = Outbound { answered: Some(answered_yet), ..frame };
        let unsent = match timeout_at(deadline, self.outbound.send(frame)).await {
            Ok(Ok(())) => None,
            Ok(Err(_)) => Some("the line to the server is closed"),
            Err(_) => Some("the server does not take what it is sent"),
        };
        if let Some(why) = unsent {
            given_up.tells = None;
            self.shared.asked().waiting.remove(&id);
            return Err(AskError::NotSent(why.to_owned()));
        }
        let Ok(answer) = timeout_at(deadline, answered).await else { return Err(AskError::Slow) };
        if let Some(tells) = given_up.tells.take() {
            // Whoever would hear of it may be through by now.
            let _through = tells.send(());
        }
        answer.unwrap_or_else(|_| Err(AskError::Lost("the server is gone".to_owned())))
    }

    /// What every request of the stateless revision says (MCP 2026-07-28, 1).
    fn stateless_meta(&self) -> Value {
        json!({
            "io.modelcontextprotocol/protocolVersion": REVISION_STATELESS,
            "io.modelcontextprotocol/clientInfo": {"name": "execgate", "version": env!("CARGO_PKG_VERSION")},
            CLIENT_CAPABILITIES: self.asks.capabilities(|_| true),
        })
    }

    /// Tells something, as far as the line takes it.
    async fn tell(&self, method: &str, params: Value) {
        let message = json!({"jsonrpc": "2.0", "method": method, "params": params});
        drop(self.outbound.send(Outbound::new(None, method, message.to_string())).await);
    }
}

/// How long some items of a list are as JSON; an item that is too long is an error.
fn size(items: &[Value], of: &str) -> Result<usize, ConnectError> {
    let mut bytes = 0_usize;
    for item in items {
        let length = item.to_string().len();
        if length > ITEM_BYTES_MAX {
            return Err(ConnectError(format!("one of its {of} has more than {ITEM_BYTES_MAX} bytes")));
        }
        bytes = bytes.saturating_add(length);
    }
    Ok(bytes)
}

/// Whether an error names the stateless revision among those that the server has (MCP 2026-07-28, versioning).
fn supports_stateless(error: &AskError) -> bool {
    let (AskError::Rpc(error) | AskError::Refused(error)) = error else { return false };
    let supported = error.data.as_ref().and_then(|data| data.get("supported")).and_then(Value::as_array);
    supported.is_some_and(|all| all.iter().any(|one| one == REVISION_STATELESS))
}

/// Puts more into the `_meta` of some parameters.
fn say(params: &mut Value, more: &Value) {
    let mut meta = params.get("_meta").and_then(Value::as_object).cloned().unwrap_or_default();
    meta.extend(more.as_object().cloned().unwrap_or_default());
    params["_meta"] = Value::Object(meta);
}

/// Takes a question back where nobody waits for its answer any more.
struct GivesUp<'c> {
    client: &'c Client,
    id: u64,
    /// Gone when it is answered; closed when it is not, so that whatever is done for it ends.
    tells: Option<oneshot::Sender<()>>,
}

impl Drop for GivesUp<'_> {
    fn drop(&mut self) {
        if self.tells.is_none() {
            return;
        }
        self.client.shared.give_up(self.id);
        let params = json!({"requestId": self.id, "reason": "nobody waits for the answer any more"});
        let message = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
        let frame = Outbound::new(None, "notifications/cancelled", message.to_string());
        // A line that is full, or gone, hears of it by its own end.
        drop(self.client.outbound.try_send(frame));
    }
}
