//! Tokens towards a server, against a double of the server, of its metadata and of an issuer, in one program.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use execgate_model::Digest;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::super::client::{Client, Manner};
use super::super::connect::{Connect as _, ConnectError};
use super::super::double::{Asked, Reply, serve};
use super::super::pins::PinError;
use super::super::words::ServerName;
use super::super::{HttpUpstream, HttpUpstreamSpec};
use super::{ClientAuth, OauthSpec, TokenShelf};
use crate::action::Secret;

/// What the double does, and what it was asked.
#[derive(Default)]
struct World {
    /// Tokens given so far; the last one counts.
    given: usize,
    /// Seconds that a token counts; the double never looks at a clock.
    life: Option<u64>,
    /// Whether each refresh gives another refresh token.
    rotates: bool,
    refresh: String,
    /// What is said in the place of parts of the metadata.
    metadata: BTreeMap<&'static str, String>,
    /// Methods and forms, in their order.
    heard: Vec<String>,
    /// Under what the server was asked.
    authorizations: Vec<String>,
}

type Shared = Arc<Mutex<World>>;

async fn double(world: Shared) -> String {
    serve(move |asked| {
        let (status, more, answer) = answered(&world, asked);
        Reply::Whole(status, more, answer.into_bytes())
    })
    .await
}

fn answered(world: &Shared, asked: &Asked) -> (u16, String, String) {
    let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
    let origin = format!("http://{}", asked.header("host"));
    let metadata = world.metadata.clone();
    let said = |name: &str, otherwise: String| metadata.get(name).cloned().unwrap_or(otherwise);
    let plain = |told: Value| (200, String::new(), told.to_string());
    match asked.line() {
        ("GET", "/mcp") => (405, String::new(), String::new()),
        (_, "/mcp") => {
            let authorization = asked.header("authorization");
            world.authorizations.push(authorization.clone());
            if world.given == 0 || authorization != format!("Bearer token-number-{}", world.given) {
                let at = said("challenge", format!("{origin}/metadata"));
                let more = format!("WWW-Authenticate: Bearer resource_metadata=\"{at}\"\r\n");
                return (401, more, String::new());
            }
            let message = asked.message();
            if message["method"] == "server/discover" {
                return (400, String::new(), String::new());
            }
            world.heard.push(message["method"].as_str().unwrap_or_default().to_owned());
            let result = match message["method"].as_str() {
                Some("initialize") => json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}}),
                Some("tools/list") => json!({"tools": [], "told": authorization}),
                _ => return (202, String::new(), String::new()),
            };
            plain(json!({"jsonrpc": "2.0", "id": message["id"], "result": result}))
        }
        (_, "/metadata") => {
            let issuer = said("issuer", origin.clone());
            plain(
                json!({"resource": said("resource", format!("{origin}/mcp")), "authorization_servers": [issuer]}),
            )
        }
        (_, "/.well-known/oauth-authorization-server") => plain(json!({
            "issuer": said("itself", origin.clone()),
            "token_endpoint": said("endpoint", format!("{origin}/token")),
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        })),
        ("POST", "/token") => {
            let basic = asked.header("authorization");
            world.heard.push(format!("{} {basic}", asked.body).trim_end().to_owned());
            let is_known = asked.body.contains(&format!("refresh_token={}&", world.refresh));
            if !world.refresh.is_empty() && !is_known {
                return (400, String::new(), json!({"error": "invalid_grant"}).to_string());
            }
            world.given += 1;
            let token = format!("token-number-{}", world.given);
            let mut told = json!({"access_token": token, "token_type": "Bearer", "expires_in": world.life});
            if world.rotates {
                world.refresh = format!("refresh-number-{}", world.given);
                told["refresh_token"] = world.refresh.clone().into();
            }
            plain(told)
        }
        _ => (404, String::new(), String::new()),
    }
}

fn secret(text: &str) -> Secret {
    Secret::new("S", Zeroizing::new(text.to_owned())).unwrap()
}

fn by_client() -> OauthSpec {
    OauthSpec {
        client_id: "gate way".to_owned(),
        client_secret: Some(secret("s3cr3t of the client")),
        refresh_token: None,
        token_url: None,
        issuer: None,
        scope: Some("a b".to_owned()),
        auth: None,
    }
}

fn upstream(origin: &str, oauth: OauthSpec, shelf: Option<Arc<dyn TokenShelf>>) -> Arc<HttpUpstream> {
    let server = ServerName::new("srv").unwrap();
    let spec = HttpUpstreamSpec {
        server,
        url: format!("{origin}/mcp"),
        is_legacy: false,
        headers: BTreeMap::new(),
        oauth: Some(oauth),
        allow_private: true,
    };
    Arc::new(HttpUpstream::new(spec, shelf).unwrap())
}

async fn client(upstream: &Arc<HttpUpstream>) -> Result<Client, ConnectError> {
    let opened = upstream.open().await?;
    Client::greet(opened.0, upstream.clone(), Manner::default()).await
}

/// What the server tells of the token that it was shown.
async fn told(client: &Client) -> Value {
    client.ask("tools/list", json!({}), Duration::from_secs(20)).await.unwrap()["told"].clone()
}

fn heard(world: &Shared) -> Vec<String> {
    core::mem::take(&mut world.lock().unwrap().heard)
}

#[tokio::test]
async fn a_token_is_found_had_sent_and_told_to_nobody() {
    let world = Shared::default();
    let origin = double(world.clone()).await;
    let upstream = upstream(&origin, by_client(), None);
    let client = client(&upstream).await.unwrap();
    assert_eq!(told(&client).await, "Bearer [secret access-token]");
    let form = format!(
        "grant_type=client_credentials&resource={}%2Fmcp&scope=a+b&client_id=gate+way&client_secret=s3cr3t+of+the+client",
        origin.replace(':', "%3A").replace('/', "%2F")
    );
    assert_eq!(heard(&world), [form.as_str(), "initialize", "notifications/initialized", "tools/list"]);
    // Nothing but tokens of the issuer was ever sent: none at first.
    assert_eq!(
        world.lock().unwrap().authorizations[..2],
        ["".to_owned(), "Bearer token-number-1".to_owned()]
    );
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced_once_and_the_call_goes_on() {
    let world = Shared::default();
    let origin = double(world.clone()).await;
    let upstream = upstream(&origin, by_client(), None);
    let client = client(&upstream).await.unwrap();
    told(&client).await;
    // The issuer takes it back: only the next one counts.
    world.lock().unwrap().given += 1;
    heard(&world);
    assert_eq!(told(&client).await, "Bearer [secret access-token]");
    let heard = heard(&world);
    assert!(heard.len() == 2 && heard[1] == "tools/list", "{heard:?}");
}

#[tokio::test]
async fn a_token_that_ends_is_replaced_before_it_is_refused() {
    let world = Shared::default();
    let origin = double(world.clone()).await;
    let oauth = OauthSpec { token_url: Some(format!("{origin}/token")), ..by_client() };
    let upstream = upstream(&origin, oauth, None);
    world.lock().unwrap().life = Some(3_600);
    let client = client(&upstream).await.unwrap();
    told(&client).await;
    assert_eq!(world.lock().unwrap().given, 1);
    // From now on each has ended when it comes.
    world.lock().unwrap().life = Some(0);
    world.lock().unwrap().given += 1;
    heard(&world);
    for _ in 0..2 {
        told(&client).await;
    }
    let heard = heard(&world);
    // Where nobody has said how, it says who it is in the header.
    assert!(heard[0].contains(" Basic Z2F0ZSt3YXk6czNjcjN0K29mK3RoZStjbGllbnQ="), "{heard:?}");
    assert_eq!((heard.len(), heard[1].as_str(), heard[3].as_str()), (4, "tools/list", "tools/list"));
    // It was shown one that does not count once: the one that was taken back.
    let shown = world.lock().unwrap().authorizations.clone();
    let counts: Vec<_> = (1..=4)
        .map(|n| shown.iter().filter(|one| **one == format!("Bearer token-number-{n}")).count())
        .collect();
    assert_eq!((counts, shown.contains(&String::new())), (vec![5, 0, 1, 1], false));
}

/// A shelf in memory.
#[derive(Default)]
struct Memory(Mutex<Option<(Digest, String)>>);

impl TokenShelf for Memory {
    fn kept(&self, _: &ServerName, instead_of: &Digest) -> Result<Option<Zeroizing<String>>, PinError> {
        let kept = self.0.lock().unwrap().clone().filter(|(seed, _)| seed == instead_of);
        Ok(kept.map(|(_, token)| Zeroizing::new(token)))
    }

    fn keep(&self, _: &ServerName, instead_of: &Digest, token: &str) -> Result<(), PinError> {
        *self.0.lock().unwrap() = Some((*instead_of, token.to_owned()));
        Ok(())
    }
}

fn by_refresh(seed: &str) -> OauthSpec {
    OauthSpec { refresh_token: Some(secret(seed)), client_secret: None, ..by_client() }
}

#[tokio::test]
async fn a_refresh_token_that_takes_the_place_of_another_outlives_the_process() {
    let world = Shared::default();
    {
        let mut world = world.lock().unwrap();
        (world.rotates, world.refresh) = (true, "refresh-of-the-operator".to_owned());
    }
    let origin = double(world.clone()).await;
    let shelf: Arc<dyn TokenShelf> = Arc::new(Memory::default());
    for number in 1..=3 {
        // Each time a new process: the one before has used up the token that it was started with.
        let upstream = upstream(&origin, by_refresh("refresh-of-the-operator"), Some(shelf.clone()));
        client(&upstream).await.unwrap();
        assert_eq!(world.lock().unwrap().given, number);
        let form = heard(&world)[0].clone();
        assert!(
            form.starts_with("grant_type=refresh_token&") && form.ends_with("client_id=gate+way"),
            "{form}"
        );
    }
    // The operator has put another one there: what was kept for the one before does not count.
    world.lock().unwrap().refresh = "another-of-the-operator".to_owned();
    let upstream = upstream(&origin, by_refresh("another-of-the-operator"), Some(shelf));
    client(&upstream).await.unwrap();
}

#[tokio::test]
async fn a_refresh_token_that_is_worth_nothing_is_told_and_nothing_is_sent() {
    let world = Shared::default();
    world.lock().unwrap().refresh = "the-one-that-counts".to_owned();
    let origin = double(world.clone()).await;
    let upstream = upstream(&origin, by_refresh("one-that-does-not"), None);
    let error = client(&upstream).await.err().unwrap().to_string();
    assert!(error.contains("invalid_grant") && !error.contains("one-that-does-not"), "{error}");
    assert_eq!(heard(&world).iter().filter(|heard| *heard == "initialize").count(), 0);
}

#[tokio::test]
async fn no_server_sends_the_credentials_elsewhere() {
    for (name, value, why) in [
        ("challenge", "http://127.0.0.2:9999/metadata", "at another origin"),
        ("issuer", "http://127.0.0.2:9999", "`issuer` or `token_url` names it"),
        ("resource", "https://other.example/mcp", "another resource"),
        ("itself", "https://other.example", "another issuer"),
        ("endpoint", "ftp://other.example", "token endpoint"),
        ("endpoint", "http://127.0.0.2:9999/token", "`issuer` must name it"),
    ] {
        let world = Shared::default();
        world.lock().unwrap().metadata.insert(name, value.to_owned());
        let origin = double(world.clone()).await;
        let error = client(&upstream(&origin, by_client(), None)).await.err().unwrap().to_string();
        assert!(error.contains(why), "{name}: {error}");
        assert_eq!(heard(&world), Vec::<String>::new(), "{name}");
    }
}

#[tokio::test]
async fn an_issuer_that_is_named_has_to_be_the_server_s() {
    let world = Shared::default();
    let origin = double(world.clone()).await;
    let named = |issuer: &str| OauthSpec { issuer: Some(issuer.to_owned()), ..by_client() };
    client(&upstream(&origin, named(&origin), None)).await.unwrap();
    let error = client(&upstream(&origin, named("http://127.0.0.1:9999"), None)).await.err().unwrap();
    assert!(error.to_string().contains("no tokens of the issuer"), "{error}");
}

#[test]
fn a_client_says_in_one_way_who_it_is() {
    let server = ServerName::new("srv").unwrap();
    let spec = |headers, oauth| HttpUpstreamSpec {
        server: server.clone(),
        url: "https://a.example/mcp".to_owned(),
        is_legacy: false,
        headers,
        oauth: Some(oauth),
        allow_private: false,
    };
    let told = |spec| HttpUpstream::new(spec, None).err().map(|error| error.to_string()).unwrap_or_default();
    let key = BTreeMap::from([(
        "authorization".to_owned(),
        ("Bearer ".to_owned(), secret("a key of some length")),
    )]);
    assert!(told(spec(key, by_client())).contains("either"));
    let nothing = OauthSpec { client_secret: None, auth: Some(ClientAuth::Post), ..by_client() };
    assert!(told(spec(BTreeMap::new(), nothing)).contains("or both"));
    let clear = OauthSpec { token_url: Some("http://a.example/token".to_owned()), ..by_client() };
    assert!(told(spec(BTreeMap::new(), clear)).contains("https://"));
}
