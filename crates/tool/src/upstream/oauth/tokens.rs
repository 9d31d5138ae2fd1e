//! The token of now: one is had before the one before ends, or when it was refused, by one of those who wait and for all.

use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use execgate_model::Digest;
use hyper::Method;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, timeout};
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

use super::super::connect::ConnectError;
use super::super::words::ServerName;
use super::answer::{Granted, REFRESH, granted};
use super::challenge::Challenge;
use super::discovery::{Discovery, Endpoint};
use super::ports::{ClientAuth, OauthSpec, TokenShelf};
use crate::action::{Redactor, Secret};
use crate::builtin::HttpClient;
use crate::compute::Raised;
use crate::outbound::{Exchange, Outgoing, Target, read, refuse_encoded};

/// How long an issuer may take, and how long its answer may be, in bytes.
const GRANTS_WITHIN: Duration = Duration::from_secs(15);
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// How long before its end a token is not used any more, and the part of its life that this is at most.
const MARGIN_MAX: Duration = Duration::from_mins(1);
const MARGIN_PART: u32 = 4;

/// How long an issuer that had no token is not asked again: those who wait behind one another hear the same.
const RESTS_FOR: Duration = Duration::from_secs(1);

/// Tokens that were handed out and are kept out of answers: the one of now, and some before.
const REMEMBERED_MAX: usize = 8;

/// The tokens for one server.
pub(crate) struct Tokens {
    server: ServerName,
    spec: OauthSpec,
    target: Target,
    allow_private: bool,
    shelf: Option<Arc<dyn TokenShelf>>,
    held: AsyncMutex<Held>,
    cleaner: Mutex<Cleaner>,
}

/// What is held now.
#[derive(Default)]
struct Held {
    endpoint: Option<Endpoint>,
    access: Option<Access>,
    /// What takes the place of the operator's refresh token, and could not be kept.
    refresh: Option<Secret>,
    failed: Option<(Instant, ConnectError)>,
}

struct Access {
    header: HeaderValue,
    /// From when on it is not used any more.
    ends: Option<Instant>,
}

impl Access {
    fn is_good(&self) -> bool {
        self.ends.is_none_or(|ends| Instant::now() < ends)
    }
}

/// Takes tokens out of what is told.
struct Cleaner {
    known: Vec<Secret>,
    redactor: Arc<Redactor>,
}

impl Tokens {
    /// Those of a server at this target.
    pub(crate) fn new(
        server: ServerName,
        spec: OauthSpec,
        target: Target,
        allow_private: bool,
        shelf: Option<Arc<dyn TokenShelf>>,
    ) -> Result<Self, ConnectError> {
        if spec.client_secret.is_none() && spec.refresh_token.is_none() {
            let why =
                format!("the server `{server}`: `oauth` has a `client_secret`, a `refresh_token`, or both");
            return Err(ConnectError(why));
        }
        let endpoint = Discovery { spec: &spec, server: &target, allow_private }.named()?;
        let known: Vec<_> = spec.client_secret.iter().chain(&spec.refresh_token).cloned().collect();
        let cleaner = Mutex::new(Cleaner { redactor: Arc::new(Redactor::of(&known)), known });
        let held = AsyncMutex::new(Held { endpoint, ..Held::default() });
        Ok(Self { server, spec, target, allow_private, shelf, held, cleaner })
    }

    /// The header of now; none where it is not known yet where tokens are had, which the server says when it is asked
    /// without one.
    pub(crate) async fn current(self: &Arc<Self>) -> Result<Option<HeaderValue>, ConnectError> {
        {
            let held = self.held.lock().await;
            if let Some(access) = held.access.as_ref().filter(|access| access.is_good()) {
                return Ok(Some(access.header.clone()));
            }
            if held.endpoint.is_none() {
                return Ok(None);
            }
        }
        self.instead_of(None, Challenge::default()).await.map(Some)
    }

    /// A header in the place of one that was refused, or that is not good any more.
    pub(crate) async fn instead_of(
        self: &Arc<Self>,
        refused: Option<&HeaderValue>,
        challenge: Challenge,
    ) -> Result<HeaderValue, ConnectError> {
        let (tokens, refused) = (Arc::clone(self), refused.cloned());
        // A task of its own: what the issuer has given is kept, also where whoever asked for it has gone.
        let asked = tokio::spawn(async move { tokens.renew(refused.as_ref(), &challenge).await });
        asked.await.map_err(|_| ConnectError("no token is to be had".to_owned()))?
    }

    async fn renew(
        &self,
        refused: Option<&HeaderValue>,
        challenge: &Challenge,
    ) -> Result<HeaderValue, ConnectError> {
        let mut held = self.held.lock().await;
        // Somebody has been here meanwhile.
        let good = held.access.as_ref().filter(|access| access.is_good() && Some(&access.header) != refused);
        if let Some(access) = good {
            return Ok(access.header.clone());
        }
        if let Some((when, error)) = &held.failed
            && when.elapsed() < RESTS_FOR
        {
            return Err(error.clone());
        }
        held.access = None;
        match self.ask(&mut held, challenge).await {
            Ok(header) => {
                held.failed = None;
                Ok(header)
            }
            Err(error) => {
                tracing::warn!(server = %self.server, %error, "no token for an upstream server");
                held.failed = Some((Instant::now(), error.clone()));
                if self.spec.token_url.is_none() {
                    // It may be had elsewhere by now.
                    held.endpoint = None;
                }
                Err(error)
            }
        }
    }

    async fn ask(&self, held: &mut Held, challenge: &Challenge) -> Result<HeaderValue, ConnectError> {
        let endpoint = match &held.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => {
                let discovery =
                    Discovery { spec: &self.spec, server: &self.target, allow_private: self.allow_private };
                let found = discovery.find(challenge).await?;
                held.endpoint = Some(found.clone());
                found
            }
        };
        let refresh = self.refresh_token(held);
        let Granted { access, life, refresh: instead } = self.granted(&endpoint, refresh.as_ref()).await?;
        let mut header = HeaderValue::from_str(&format!("Bearer {}", access.reveal()))
            .map_err(|_| ConnectError("the issuer's token cannot be sent".to_owned()))?;
        header.set_sensitive(true);
        // Before anybody can be told of it.
        self.remember([Some(access), instead.clone()].into_iter().flatten());
        if let (Some(instead), Some(seed)) = (instead, &self.spec.refresh_token) {
            let kept =
                self.shelf.as_ref().map(|shelf| shelf.keep(&self.server, &digest(seed), instead.reveal()));
            if let Some(Err(error)) = &kept {
                tracing::error!(server = %self.server, %error, "a refresh token cannot be kept: it is lost with this process");
            }
            // What is kept is read again: another process may have had a newer one by then.
            held.refresh = if matches!(kept, Some(Ok(()))) { None } else { Some(instead) };
        }
        let ends = life.map(|life| Instant::now() + life - (life / MARGIN_PART).min(MARGIN_MAX));
        held.access = Some(Access { header: header.clone(), ends });
        Ok(header)
    }

    /// The refresh token of now: what was kept last, by whichever process of this data directory, or the operator's.
    fn refresh_token(&self, held: &Held) -> Option<Secret> {
        let seed = self.spec.refresh_token.as_ref()?;
        if let Some(held) = &held.refresh {
            return Some(held.clone());
        }
        let kept = self.shelf.as_ref().map(|shelf| shelf.kept(&self.server, &digest(seed)));
        let kept = match kept {
            Some(Ok(kept)) => kept.and_then(|text| Secret::new(REFRESH, text).ok()),
            Some(Err(error)) => {
                tracing::error!(server = %self.server, %error, "a refresh token that was kept cannot be read");
                None
            }
            None => None,
        };
        if let Some(kept) = &kept {
            self.remember([kept.clone()]);
        }
        kept.or_else(|| Some(seed.clone()))
    }

    /// Asks the endpoint.
    async fn granted(&self, endpoint: &Endpoint, refresh: Option<&Secret>) -> Result<Granted, ConnectError> {
        let (headers, form) = self.request(endpoint, refresh)?;
        let target = &endpoint.target;
        let client = HttpClient::for_named(self.allow_private, target.is_tls);
        let exchanged = timeout(GRANTS_WITHIN, async {
            let outgoing = Outgoing { method: Method::POST, target, headers, body: form.into() };
            let Exchange { response, connection: _open } = client.exchange(outgoing).await?;
            refuse_encoded(response.headers())?;
            let status = response.status();
            Ok::<_, Raised>((status, read(response.into_body(), ANSWER_BYTES_MAX).await?))
        });
        let slow = |_| ConnectError("the issuer of its tokens does not answer".to_owned());
        let (status, (body, is_cut)) =
            exchanged.await.map_err(slow)?.map_err(|raised: Raised| ConnectError(raised.message))?;
        if is_cut {
            return Err(ConnectError("the issuer's answer is too long".to_owned()));
        }
        granted(status, &Zeroizing::new(body))
    }

    /// What the endpoint is asked (RFC 6749, 4.4 and 6; RFC 8707): headers and a form.
    fn request(
        &self,
        endpoint: &Endpoint,
        refresh: Option<&Secret>,
    ) -> Result<(HeaderMap, String), ConnectError> {
        let mut form = Serializer::new(String::new());
        match refresh {
            Some(token) => {
                form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", token.reveal())
            }
            None => form.append_pair("grant_type", "client_credentials"),
        };
        form.append_pair("resource", &endpoint.resource);
        if let Some(scope) = &self.spec.scope {
            form.append_pair("scope", scope);
        }
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let id = &self.spec.client_id;
        match (&self.spec.client_secret, endpoint.auth) {
            (Some(secret), ClientAuth::Basic) => {
                headers.insert(AUTHORIZATION, basic(id, secret)?);
            }
            (Some(secret), ClientAuth::Post) => {
                form.append_pair("client_id", id).append_pair("client_secret", secret.reveal());
            }
            (None, ClientAuth::Basic | ClientAuth::Post) => {
                form.append_pair("client_id", id);
            }
        }
        Ok((headers, form.finish()))
    }

    /// Keeps these out of what is told from now on.
    fn remember(&self, secrets: impl IntoIterator<Item = Secret>) {
        let mut cleaner = self.cleaner.lock().unwrap_or_else(PoisonError::into_inner);
        for secret in secrets {
            if cleaner.known.iter().all(|known| !known.is(secret.reveal())) {
                cleaner.known.push(secret);
            }
        }
        let ours =
            usize::from(self.spec.client_secret.is_some()) + usize::from(self.spec.refresh_token.is_some());
        let most = ours + REMEMBERED_MAX;
        while cleaner.known.len() > most {
            // The operator's own are in front, and stay.
            cleaner.known.remove(ours);
        }
        cleaner.redactor = Arc::new(Redactor::of(&cleaner.known));
    }

    /// What a server said, without tokens and secrets.
    pub(crate) fn clean(&self, value: Value) -> Value {
        let redactor = {
            let cleaner = self.cleaner.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&cleaner.redactor)
        };
        redactor.clean_value(value)
    }
}

fn digest(seed: &Secret) -> Digest {
    Digest::from_bytes(Sha256::digest(seed.reveal().as_bytes()).into())
}

/// Who asks (RFC 6749, 2.3.1): each part is encoded as a form has it before they are joined.
fn basic(id: &str, secret: &Secret) -> Result<HeaderValue, ConnectError> {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Zeroizing::new(format!("{}:{}", encoded(id), encoded(secret.reveal())));
    let value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair.as_bytes())));
    let mut value =
        value.map_err(|_| ConnectError("the credentials of the client cannot be sent".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}
