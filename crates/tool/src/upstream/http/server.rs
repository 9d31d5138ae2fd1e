//! A server at a URL, and who asks it.

use std::collections::BTreeMap;
use std::sync::Arc;

use execgate_model::BoxFuture;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use serde_json::{Value, json};

use super::super::connect::{Connect, ConnectError, Opened};
use super::super::oauth::{OauthSpec, TokenShelf, Tokens};
use super::super::words::ServerName;
use super::legacy::legacy;
use super::line::Line;
use super::streamable::streamable;
use crate::action::{Redactor, Secret};
use crate::builtin::HttpClient;
use crate::outbound::Target;

/// A server at a URL.
#[derive(Debug, Clone)]
pub struct HttpUpstreamSpec {
    /// Its name.
    pub server: ServerName,
    /// Where it is.
    pub url: String,
    /// Whether it is the older transport, with its stream of events.
    pub is_legacy: bool,
    /// Headers that go along, each a secret, with what stands before it (`Bearer `).
    pub headers: BTreeMap<String, (String, Secret)>,
    /// How a token for it is had, where it wants one that ends.
    pub oauth: Option<OauthSpec>,
    /// Whether it may be in a private network, or on this host.
    pub allow_private: bool,
}

/// Who asks it.
pub struct HttpUpstream {
    line: Arc<Line>,
    is_legacy: bool,
    redactor: Redactor,
}

impl HttpUpstream {
    /// This server. `shelf` keeps the tokens that take the place of the operator's.
    ///
    /// # Errors
    /// A URL or a header that cannot be asked for; a secret that would cross the internet in the clear.
    pub fn new(spec: HttpUpstreamSpec, shelf: Option<Arc<dyn TokenShelf>>) -> Result<Self, ConnectError> {
        let bad = |why: String| ConnectError(format!("the server `{}`: {why}", spec.server));
        let target = Target::of(&spec.url).map_err(|rule| bad(format!("`url` {rule}")))?;
        let has_secret = !spec.headers.is_empty() || spec.oauth.is_some();
        if has_secret && !target.is_tls && !spec.allow_private {
            return Err(bad(
                "`url` must begin with https://: a secret does not cross the internet in the clear".into(),
            ));
        }
        let client = HttpClient::for_named(spec.allow_private, target.is_tls || !has_secret).keeping();
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static("execgate"));
        for (name, (before, secret)) in &spec.headers {
            let name =
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad(format!("`{name}` is no header")))?;
            let mut value = HeaderValue::from_str(&format!("{before}{}", secret.reveal()))
                .map_err(|_| bad(format!("the header `{name}` cannot be sent")))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        if spec.oauth.is_some() && headers.contains_key(AUTHORIZATION) {
            return Err(bad("either `oauth` or a header `Authorization` says who asks".into()));
        }
        let redactor = Redactor::of(spec.headers.values().map(|(_, secret)| secret));
        let tokens = spec.oauth.map(|oauth| {
            Tokens::new(spec.server.clone(), oauth, target.clone(), spec.allow_private, shelf).map(Arc::new)
        });
        let tokens = tokens.transpose()?;
        let line = Arc::new(Line::new(client, target, headers, tokens));
        Ok(Self { line, is_legacy: spec.is_legacy, redactor })
    }
}

impl Connect for HttpUpstream {
    fn open(&self) -> BoxFuture<'_, Result<Opened, ConnectError>> {
        Box::pin(async move {
            // What was agreed on with the line before holds no more; what it still does, it does alone.
            let line = Arc::new(self.line.anew());
            if self.is_legacy { legacy(line).await } else { Ok(streamable(line)) }
        })
    }

    fn enforced(&self) -> Value {
        let transport = if self.is_legacy { "sse" } else { "http" };
        let target = &self.line.target;
        json!({"transport": transport, "origin": target.to_string(), "tls": target.is_tls})
    }

    fn clean(&self, value: Value) -> Value {
        let value = self.redactor.clean_value(value);
        match &self.line.tokens {
            Some(tokens) => tokens.clean(value),
            None => value,
        }
    }
}
