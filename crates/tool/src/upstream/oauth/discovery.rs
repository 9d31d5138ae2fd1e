//! Where tokens for a server are had: what the server says of itself (RFC 9728), and what the issuer says (RFC 8414, `OpenID`
//! Connect Discovery 1.0). A server's word chooses among what the operator has allowed, and no more.

use core::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{ACCEPT, HeaderMap, HeaderValue};
use serde_json::{Value, from_slice};
use tokio::time::timeout;

use super::super::connect::ConnectError;
use super::challenge::Challenge;
use super::ports::{ClientAuth, OauthSpec};
use crate::builtin::HttpClient;
use crate::compute::Raised;
use crate::outbound::{Exchange, Outgoing, Target, read, refuse_encoded};

/// How long one document may take, and how long it may be, in bytes.
const READS_WITHIN: Duration = Duration::from_secs(10);
const DOCUMENT_BYTES_MAX: usize = 64 << 10;

/// Issuers of one server that are looked at.
const ISSUERS_MAX: usize = 16;

/// Where tokens are had.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    pub(super) target: Target,
    pub(super) auth: ClientAuth,
    /// Whose tokens they are to be (RFC 8707).
    pub(super) resource: String,
}

/// Finds out.
pub(super) struct Discovery<'s> {
    pub(super) spec: &'s OauthSpec,
    pub(super) server: &'s Target,
    pub(super) allow_private: bool,
}

fn fault(why: impl Into<String>) -> ConnectError {
    ConnectError(why.into())
}

impl Discovery<'_> {
    /// A target that a secret may go to.
    fn target(&self, text: &str, what: &str) -> Result<Target, ConnectError> {
        let target = Target::of(text).map_err(|rule| fault(format!("{what} {rule}")))?;
        if !target.is_tls && !self.allow_private {
            return Err(fault(format!("{what} must begin with https://")));
        }
        Ok(target)
    }

    /// The endpoint that the operator has named, where it has.
    pub(super) fn named(&self) -> Result<Option<Endpoint>, ConnectError> {
        let Some(url) = &self.spec.token_url else { return Ok(None) };
        let target = self.target(url, "`token_url`")?;
        let auth = self.spec.auth.unwrap_or(ClientAuth::Basic);
        Ok(Some(Endpoint { target, auth, resource: self.server.url.to_string() }))
    }

    /// Asks the server and the issuer.
    pub(super) async fn find(&self, challenge: &Challenge) -> Result<Endpoint, ConnectError> {
        let metadata = self.of_server(challenge).await?;
        let resource = match &metadata {
            Some(metadata) => self.resource(metadata)?,
            None => self.server.url.to_string(),
        };
        let issuer = self.issuer(metadata.as_ref())?;
        let at = self.target(&issuer, "the issuer")?;
        let path = at.url.path().trim_end_matches('/');
        for well_known in [
            format!("/.well-known/oauth-authorization-server{path}"),
            format!("/.well-known/openid-configuration{path}"),
            format!("{path}/.well-known/openid-configuration"),
        ] {
            let Some(found) = self.document(&self.beside(&at, &well_known)?).await? else { continue };
            // RFC 8414, 3.3: else anybody's document would do.
            if found.get("issuer").and_then(Value::as_str) != Some(issuer.as_str()) {
                return Err(fault("what the issuer says of itself is of another issuer"));
            }
            let url = found.get("token_endpoint").and_then(Value::as_str);
            let url = url.ok_or_else(|| fault("the issuer does not say where tokens are had"))?;
            let target = self.target(url, "the token endpoint")?;
            // An issuer that nobody has named is the server's own, and has no secret sent elsewhere.
            if self.spec.issuer.is_none() && !target.is_same_origin(self.server) {
                return Err(fault("its issuer has tokens at another origin: `issuer` must name it"));
            }
            let auth = self.spec.auth.unwrap_or_else(|| auth(&found));
            return Ok(Endpoint { target, auth, resource });
        }
        Err(fault("the issuer says nothing of itself (RFC 8414)"))
    }

    /// What the server says of itself; none where it says nothing.
    async fn of_server(&self, challenge: &Challenge) -> Result<Option<Value>, ConnectError> {
        if let Some(said) = &challenge.resource_metadata {
            let target = self.target(said, "its metadata")?;
            if !target.is_same_origin(self.server) {
                return Err(fault("its metadata are at another origin"));
            }
            return self.document(&target).await;
        }
        let path = self.server.url.path().trim_end_matches('/');
        for path in [path, ""] {
            let at = self.beside(self.server, &format!("/.well-known/oauth-protected-resource{path}"))?;
            if let Some(found) = self.document(&at).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn beside(&self, target: &Target, path: &str) -> Result<Target, ConnectError> {
        target.join(path).map_err(|rule| fault(format!("the well-known place {rule}")))
    }

    /// Whose tokens it wants: its own URL, or one that holds it (RFC 9728, 3.3). For another's none is had.
    fn resource(&self, metadata: &Value) -> Result<String, ConnectError> {
        let said = metadata.get("resource").and_then(Value::as_str);
        let said = said.ok_or_else(|| fault("its metadata name no resource"))?;
        let target = self.target(said, "the resource of its metadata")?;
        let (holds, held) = (target.url.path().trim_end_matches('/'), self.server.url.path());
        let is_within = held.strip_prefix(holds).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if target.is_same_origin(self.server) && is_within {
            Ok(said.to_owned())
        } else {
            Err(fault("its metadata are those of another resource"))
        }
    }

    /// Whom to ask: whom the operator has named, where the server does not say that it is another; else one of the server's
    /// own origin.
    fn issuer(&self, metadata: Option<&Value>) -> Result<String, ConnectError> {
        let said =
            metadata.and_then(|metadata| metadata.get("authorization_servers")).and_then(Value::as_array);
        let mut said = said.into_iter().flatten().filter_map(Value::as_str).take(ISSUERS_MAX);
        match (&self.spec.issuer, metadata) {
            (Some(named), None) => Ok(named.clone()),
            (Some(named), Some(_)) if said.any(|issuer| issuer == named) => Ok(named.clone()),
            (Some(_), Some(_)) => Err(fault("it takes no tokens of the issuer that is named here")),
            (None, _) => {
                let is_own =
                    |issuer: &&str| Target::of(issuer).is_ok_and(|target| target.is_same_origin(self.server));
                let own = said.find(is_own).map(str::to_owned);
                own.ok_or_else(|| fault("its issuer is at another origin: `issuer` or `token_url` names it"))
            }
        }
    }

    /// A document, whole; none where there is none.
    async fn document(&self, target: &Target) -> Result<Option<Value>, ConnectError> {
        let client = HttpClient::for_named(self.allow_private, target.is_tls);
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let exchanged = timeout(READS_WITHIN, async {
            let outgoing = Outgoing { method: Method::GET, target, headers, body: Bytes::new() };
            let Exchange { response, connection: _open } = client.exchange(outgoing).await?;
            refuse_encoded(response.headers())?;
            let status = response.status();
            Ok::<_, Raised>((status, read(response.into_body(), DOCUMENT_BYTES_MAX).await?))
        });
        let read = exchanged.await.map_err(|_| fault(format!("`{target}` does not answer")))?;
        let (status, (body, is_cut)) = read.map_err(|raised: Raised| fault(raised.message))?;
        if !status.is_success() || is_cut {
            return Ok(None);
        }
        Ok(from_slice(&body).ok().filter(Value::is_object))
    }
}

/// How a client may say who it is, by what the issuer says (RFC 8414, 2).
fn auth(metadata: &Value) -> ClientAuth {
    let taken = metadata.get("token_endpoint_auth_methods_supported").and_then(Value::as_array);
    let takes = |method: &str| taken.is_some_and(|all| all.iter().any(|one| one == method));
    if takes("client_secret_post") && !takes("client_secret_basic") {
        ClientAuth::Post
    } else {
        ClientAuth::Basic
    }
}
