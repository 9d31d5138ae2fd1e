//! A plain HTTP client for one gateway on loopback.

use std::net::SocketAddr;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// What a client of the Model Context Protocol takes.
const MCP_ACCEPTS: &str = "application/json, text/event-stream";

/// One connection.
pub(super) struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

/// What came back.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    pub(super) timing: Option<String>,
    pub(super) replayed: bool,
}

impl Reply {
    /// The body as JSON.
    pub(super) fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).context("the gateway answered something other than JSON")
    }
}

impl Client {
    /// Connects to a gateway.
    pub(super) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("failed to reach the gateway")?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.context("failed to talk to the gateway")?;
        tokio::spawn(connection);
        Ok(Self { sender, host: address.to_string() })
    }

    /// `GET`.
    pub(super) async fn get(&mut self, path: &str) -> anyhow::Result<Reply> {
        self.send(Method::GET, path, None).await
    }

    /// `POST` of JSON.
    pub(super) async fn post(&mut self, path: &str, body: &Value) -> anyhow::Result<Reply> {
        self.send(Method::POST, path, Some(body)).await
    }

    async fn send(&mut self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Reply> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.host);
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if path == "/mcp" {
            request = request.header(ACCEPT, MCP_ACCEPTS);
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(body))).context("failed to write the request")?;
        self.sender.ready().await.context("the gateway hung up")?;
        let response = self.sender.send_request(request).await.context("the gateway did not answer")?;
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let (timing, replayed) = (header("server-timing"), header("execgate-replayed").is_some());
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.context("the answer broke off")?.to_bytes().to_vec();
        Ok(Reply { status, body, timing, replayed })
    }
}
