//! Where the commands of the operator are answered: by a live gateway, over its socket, or by this process, which then
//! opens the record itself. Both are the same administration over the same HTTP, so that they say the same.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use execgate_flow::administer::By;
use execgate_flow::authorise::Grants;
use execgate_flow::log::Log;
use execgate_model::NoCrash;
use execgate_receipt::sha256;
use execgate_store::Store;
use execgate_web::{Peer, admin_router, serve_one};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustix::process::geteuid;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, duplex};
use tokio::time::timeout;

use crate::commands::cli::{Common, DataDir};
use crate::config::Settings;
use crate::keys::KeyFolder;
use crate::ports::{SystemClock, SystemEntropy};
use crate::till::{self, Mute};
use crate::wire::OwnKeys;
use crate::{privileges, socket, terminal, wire};

/// How long an answer may take. A record that is busy is waited for; a gateway that hangs is not.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// The largest answer, in bytes: every grant that there can be.
const ANSWER_MAX: usize = 64 << 20;

/// The longest line of an answer that comes line by line, in bytes, and the largest refusal of one.
const LINE_MAX: usize = 1 << 20;

/// Bytes on their way within this process.
const PIPE_BYTES: usize = 64 << 10;

/// Whether a command signs something, for which a key is read, or writes at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signs {
    /// Nothing, and nothing is written: where no gateway lives, the record is opened to be read.
    NothingAndWritesNothing,
    Nothing,
    Statements,
    /// Checkpoints of the log.
    Checkpoints,
    /// Nothing; and money is looked for, by the rails of the configuration.
    NothingAndAsksRails,
}

/// The administration, as a command sees it.
pub(crate) struct Desk {
    sender: SendRequest<Full<Bytes>>,
    /// Who answers, for people.
    whom: String,
    /// How long an answer may take.
    patience: Duration,
}

/// An answer that is none of a problem.
pub(crate) struct Answer {
    pub(crate) body: Bytes,
    /// Whether a change was one, where the answer says so.
    pub(crate) changed: Option<bool>,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).context("the administration answered something other than JSON")
    }
}

/// Runs a command of the operator over the administration of a data directory, as the owner of that directory.
pub(crate) fn with_desk<T>(
    data: &DataDir,
    common: &Common,
    signs: Signs,
    command: impl AsyncFnOnce(&mut Desk) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let folder = &data.data_dir;
    if !folder.is_dir() {
        bail!("there is no data directory {}; name it by --data-dir", folder.display());
    }
    let mut settings = wire::record_settings(common)?;
    // While this process may still do what a gateway does when it starts.
    let keys = match settings.payment.as_mut().filter(|_| signs == Signs::NothingAndAsksRails) {
        Some(payment) => payment.read_keys(),
        None => Ok(()),
    };
    privileges::become_owner_of(folder)?;
    wire::runtime()?.block_on(async {
        if let Some(mut desk) = live(&settings, folder).await? {
            return command(&mut desk).await;
        }
        // It may be one that nobody is to be asked by.
        if let Err(error) = keys {
            terminal::note(format_args!("nobody can be asked about payments by card: {error:#}"));
        }
        alone(&settings, folder, signs, command).await
    })
}

/// The gateway of a data directory, where one lives and has the record that is meant.
async fn live(settings: &Settings, folder: &Path) -> anyhow::Result<Option<Desk>> {
    let Some((path, stream)) = socket::connect(folder).await? else { return Ok(None) };
    let mut desk = Desk::over(stream, format!("the gateway at {}", path.display()), ANSWER_TIME).await?;
    if settings.database.is_some() {
        let health = desk.get("/health").await?.json()?;
        let meant = sha256(settings.database_url(folder).as_bytes());
        if health["record"] != json!(meant) {
            return Ok(None);
        }
    }
    Ok(Some(desk))
}

/// The same without a gateway: this process is one for the time of a command, and serves itself.
async fn alone<T>(
    settings: &Settings,
    folder: &Path,
    signs: Signs,
    command: impl AsyncFnOnce(&mut Desk) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let url = settings.database_url(folder);
    let store = match signs {
        Signs::NothingAndWritesNothing => wire::record_to_read(folder, url)?,
        Signs::Nothing | Signs::Statements | Signs::Checkpoints | Signs::NothingAndAsksRails => {
            wire::record(folder, url)?
        }
    };
    let keys = Arc::new(KeyFolder::new(folder.to_owned(), Arc::new(SystemEntropy)));
    let keyring = wire::keyring(Arc::clone(&keys), Arc::clone(&store));
    if matches!(signs, Signs::Statements | Signs::Checkpoints) {
        keyring.open(&By::Operator { uid: geteuid().as_raw() }).await?;
    }
    let witness = match signs {
        Signs::NothingAndWritesNothing | Signs::Nothing | Signs::Checkpoints | Signs::NothingAndAsksRails => {
            None
        }
        Signs::Statements => Some(wire::witness(keys.receipt()?, Arc::clone(&store))),
    };
    let grants = Arc::new(Grants::new(Arc::clone(&store), Arc::new(SystemClock::new())));
    let log = match signs {
        Signs::NothingAndWritesNothing | Signs::Nothing | Signs::Statements | Signs::NothingAndAsksRails => {
            None
        }
        Signs::Checkpoints => Some(kept_log(settings, folder, &store, &keys).await?),
    };
    let keys = OwnKeys { witness, log, keyring };
    let mut office = wire::office(settings, folder, &store, grants, keys, None);
    if signs == Signs::NothingAndAsksRails {
        let clock = Arc::new(SystemClock::new());
        let rails = till::rails(settings, folder, &clock, Mute::Told).await?;
        office = office.settling(till::settle(&rails, &store, &clock, &Arc::new(NoCrash)));
    }
    let (ours, theirs) = duplex(PIPE_BYTES);
    let peer = Peer::User { uid: geteuid().as_raw() };
    tokio::spawn(serve_one(theirs, peer, admin_router(Arc::new(office))));
    let result = match Desk::over(ours, "the record".to_owned(), ANSWER_TIME).await {
        Ok(mut desk) => command(&mut desk).await,
        Err(error) => Err(error),
    };
    store.close().await;
    result
}

/// The log of a record that no gateway keeps just now, with everything that was appended to it.
async fn kept_log(
    settings: &Settings,
    folder: &Path,
    store: &Arc<dyn Store>,
    keys: &KeyFolder,
) -> anyhow::Result<Arc<Log>> {
    let log = wire::log(settings, folder, store, keys.log()?)?;
    log.open().await.context("the log cannot be opened")?;
    log.sequence().await.context("the log cannot be brought up to date")?;
    log.keep().await.context("the checkpoint of the log cannot be kept")?;
    Ok(log)
}

impl Desk {
    async fn over<S>(stream: S, whom: String, patience: Duration) -> anyhow::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.with_context(|| format!("failed to talk to {whom}"))?;
        tokio::spawn(connection);
        Ok(Self { sender, whom, patience })
    }

    /// `GET`.
    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<Answer> {
        self.ask(Method::GET, path, None).await
    }

    /// `GET` of an answer that comes line by line. None of them is kept; each may take as long as an answer.
    pub(crate) async fn lines(
        &mut self,
        path: &str,
        mut take: impl FnMut(Value) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let whom = self.whom.clone();
        let request = Request::builder().uri(path).header(HOST, "localhost").body(Full::default());
        let request = request.context("failed to write the request")?;
        let asked = async {
            self.sender.ready().await.context("it hung up")?;
            self.sender.send_request(request).await.context("it did not answer")
        };
        let silent = || format!("{whom} did not answer within {:?}", self.patience);
        let response = timeout(self.patience, asked).await.with_context(silent)?;
        let response = response.with_context(|| format!("failed to ask {whom}"))?;
        let is_success = response.status().is_success();
        let mut body = response.into_body();
        let mut begun = Vec::new();
        while let Some(frame) = timeout(self.patience, body.frame()).await.with_context(silent)? {
            let frame = frame.with_context(|| format!("the answer of {whom} broke off"))?;
            begun.extend_from_slice(frame.data_ref().map(Bytes::as_ref).unwrap_or_default());
            if begun.len() > LINE_MAX {
                bail!("{whom} answered something other than lines");
            }
            while is_success && let Some(end) = begun.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = begun.drain(..=end).collect();
                take(serde_json::from_slice(&line).context("a line of the answer is no JSON")?)?;
            }
        }
        if is_success { Ok(()) } else { Err(refusal(&begun)) }
    }

    /// The same, asked for what takes so long.
    pub(crate) fn patient(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// `POST` of JSON.
    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.ask(Method::POST, path, Some(body)).await
    }

    async fn ask(&mut self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Answer> {
        let whom = self.whom.clone();
        match timeout(self.patience, self.exchange(method, path, body)).await {
            Ok(answered) => answered.with_context(|| format!("failed to ask {whom}"))?,
            Err(_) => bail!("{whom} did not answer within {:?}", self.patience),
        }
    }

    /// One exchange: the outer error is one of the way, the inner what the administration refuses.
    async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<anyhow::Result<Answer>> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "localhost");
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(body))).context("failed to write the request")?;
        self.sender.ready().await.context("it hung up")?;
        let response = self.sender.send_request(request).await.context("it did not answer")?;
        let status = response.status();
        let changed = response.headers().get("execgate-changed").map(|value| value == "true");
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        let body = body.map_err(|error| anyhow!("the answer cannot be read: {error}"))?.to_bytes();
        Ok(if status.is_success() { Ok(Answer { body, changed }) } else { Err(refusal(&body)) })
    }
}

/// What the administration refuses: its words for people, and the code of its problem.
#[derive(Debug)]
pub(crate) struct Refused {
    code: String,
    detail: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl Error for Refused {}

impl Refused {
    /// Whether a command was refused by the problem of that code.
    pub(crate) fn is(error: &anyhow::Error, code: &str) -> bool {
        error.downcast_ref::<Self>().is_some_and(|refused| refused.code == code)
    }
}

fn refusal(body: &[u8]) -> anyhow::Error {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| problem[name].as_str().map(str::to_owned);
    let detail = text("detail");
    let detail = detail.unwrap_or_else(|| "the administration refuses, and does not say why".to_owned());
    Refused { code: text("code").unwrap_or_default(), detail }.into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::duplex;

    use super::Desk;

    #[tokio::test]
    async fn a_gateway_that_says_nothing_is_not_waited_for_for_ever() {
        let (ours, _theirs) = duplex(1_024);
        let mut desk = Desk::over(ours, "the gateway".to_owned(), Duration::from_millis(20)).await.unwrap();
        let error = desk.get("/health").await.err().unwrap();
        assert_eq!(error.to_string(), "the gateway did not answer within 20ms");
    }

    #[tokio::test]
    async fn one_that_hangs_up_is_told() {
        let (ours, theirs) = duplex(1_024);
        let mut desk = Desk::over(ours, "the gateway".to_owned(), Duration::from_secs(20)).await.unwrap();
        drop(theirs);
        let error = desk.get("/health").await.err().unwrap();
        assert_eq!(error.to_string(), "failed to ask the gateway");
    }
}
