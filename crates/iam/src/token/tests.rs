//! Tokens against the keys of an issuer on loopback, which does what a test says.

mod fresh;
mod good;
mod wrong;

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use execgate_flow::authorise::{Bearer, TokenError, Tokens as _};
use execgate_model::{Clock, TenantId, UnixMs};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::mint::{AUDIENCE, ISSUER, Mint, claims, published};
use super::{Algorithm, IssuerParts, KeysPlace, TenantRule, TokenIssuers};
use crate::ServiceUrl;

/// When every test begins, in seconds since 1970.
const START_S: u64 = 1_800_000_000;

/// A clock that a test turns.
#[derive(Default)]
struct Hands(AtomicU64);

impl Clock for Hands {
    fn now(&self) -> UnixMs {
        UnixMs(START_S * 1_000 + self.monotonic_us() / 1_000)
    }

    fn monotonic_us(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// What the issuer does when it is asked for its keys.
#[derive(Clone)]
enum Does {
    Says(Vec<u8>),
    Hangs,
    Closes,
}

fn says(status: &str, headers: &str, body: &str) -> Does {
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len());
    Does::Says(text.into_bytes())
}

fn publishes(mints: &[&Mint]) -> Does {
    says("200 OK", "Content-Type: application/jwk-set+json\r\n", &published(mints).to_string())
}

struct Server {
    does: watch::Sender<Does>,
    asked: Arc<AtomicUsize>,
    url: ServiceUrl,
}

impl Server {
    async fn that(does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let (does, doing) = watch::channel(does);
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let does = doing.borrow().clone();
                tokio::spawn(serve(stream, does));
            }
        });
        Self { does, asked, url: ServiceUrl::new(&url).unwrap() }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, does: Does) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut piece = [0; 4_096];
        let Ok(read @ 1..) = stream.read(&mut piece).await else { return };
        request.extend_from_slice(&piece[..read]);
    }
    assert!(request.starts_with(b"GET /jwks.json HTTP/1.1\r\n"));
    match does {
        Does::Says(bytes) => {
            // A client that has read enough hangs up.
            stream.write_all(&bytes).await.ok();
            stream.shutdown().await.ok();
        }
        Does::Hangs => core::future::pending().await,
        Does::Closes => {}
    }
}

fn parts(keys: KeysPlace) -> IssuerParts {
    IssuerParts {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        keys,
        algorithms: BTreeSet::from(Algorithm::USUAL),
        tenant: TenantRule::Fixed(TenantId::new("acme").unwrap()),
        roles: None,
        labels: BTreeMap::new(),
        leeway_s: 0,
    }
}

/// One issuer, and what it does.
struct Issuer {
    server: Server,
    clock: Arc<Hands>,
    tokens: Arc<TokenIssuers>,
}

impl Issuer {
    async fn that(does: Does) -> Self {
        Self::with(does, |parts| parts).await
    }

    async fn with(does: Does, change: impl FnOnce(IssuerParts) -> IssuerParts) -> Self {
        let server = Server::that(does).await;
        let clock = Arc::new(Hands::default());
        let parts = change(parts(KeysPlace::Url(server.url.clone())));
        let tokens = TokenIssuers::open(vec![parts], clock.clone()).unwrap();
        Self { server, clock, tokens: Arc::new(tokens) }
    }

    async fn shown(&self, token: &str) -> Result<Bearer, TokenError> {
        self.tokens.recognise(token).await.map(|bearer| bearer.as_ref().clone())
    }

    async fn refuses(&self, token: &str) -> Option<TokenError> {
        self.shown(token).await.err()
    }

    fn turn_us(&self, span_us: u64) {
        self.clock.0.fetch_add(span_us, Ordering::SeqCst);
    }
}

fn good(subject: &str) -> Value {
    claims(subject, START_S)
}
