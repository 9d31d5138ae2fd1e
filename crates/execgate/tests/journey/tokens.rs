//! Tokens on a real gateway, signed by OpenSSL, which we did not write, with keys that a server on loopback publishes.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::server::{Data, Reply, Server, reply};

/// What OpenSSL says to this.
#[expect(clippy::disallowed_methods, reason = "a cross check needs the other tool")]
fn openssl(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An RSA key of OpenSSL's.
struct Key {
    folder: TempDir,
    name: &'static str,
}

impl Key {
    fn new(name: &'static str, bits: u32) -> Self {
        let folder = TempDir::new().unwrap();
        let bits = format!("rsa_keygen_bits:{bits}");
        openssl(folder.path(), &["genpkey", "-algorithm", "RSA", "-pkeyopt", &bits, "-out", "key.pem"]);
        Self { folder, name }
    }

    fn jwk(&self) -> Value {
        let told = openssl(self.folder.path(), &["rsa", "-in", "key.pem", "-noout", "-modulus"]);
        let told = String::from_utf8(told).unwrap();
        let digits = told.trim().strip_prefix("Modulus=").unwrap();
        let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        let modulus: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
        json!({"kty": "RSA", "kid": self.name, "use": "sig", "n": encoded(modulus), "e": "AQAB"})
    }

    fn token(&self, algorithm: &str, claims: &Value) -> String {
        let header = json!({"alg": algorithm, "typ": "JWT", "kid": self.name});
        let message = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        fs::write(self.folder.path().join("message"), &message).unwrap();
        let padding = if algorithm == "PS256" { "pss" } else { "pkcs1" };
        let padding = format!("rsa_padding_mode:{padding}");
        let mut arguments = vec!["dgst", "-sha256", "-sign", "key.pem", "-sigopt", &padding];
        if algorithm == "PS256" {
            arguments.extend(["-sigopt", "rsa_pss_saltlen:digest"]);
        }
        arguments.push("message");
        format!("{message}.{}", encoded(openssl(self.folder.path(), &arguments)))
    }
}

/// Publishes what is in the cell, for as long as the test runs.
fn publisher(says: Arc<Mutex<String>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4_096];
            // The whole question is one small packet.
            assert_ne!(stream.read(&mut request).unwrap(), 0);
            let says = says.lock().unwrap().clone();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{says}", says.len());
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

#[expect(clippy::disallowed_methods, reason = "another process reads the time, too")]
fn claims(others: &Value) -> Value {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut claims = json!({
        "iss": "https://login.example", "aud": ["https://gate.example"], "sub": "agent-7",
        "iat": now_s, "exp": now_s + 600,
    });
    for (name, value) in others.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn execute(server: &Server, token: &str, nonce: &str) -> Reply {
    let body = json!({"action": "echo", "payload": {"msg": "hi"}, "nonce": nonce}).to_string();
    reply(
        &server.raw(
            format!(
                "POST /execute HTTP/1.1\r\nHost: gate.example\r\nAuthorization: Bearer {token}\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )
            .as_bytes(),
        ),
    )
}

fn configured(data: &Data, keys: &str, more: &str) -> String {
    let path = data.path().with_extension("toml");
    let text = format!(
        "[server]\npublic_url = \"https://gate.example\"\n[surfaces]\ncode = \"off\"\n[log]\nlevel = \"trace\"\n\
         [identity]\nrequire_grant = true\n[[identity.issuer]]\nissuer = \"https://login.example\"\n\
         audience = \"https://gate.example\"\njwks = \"{keys}\"\n{more}"
    );
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_token_that_another_program_has_signed_runs_and_is_told_nowhere() {
    let (key, weak) = (Key::new("k1", 2_048), Key::new("weak", 1_024));
    let keys = json!({"keys": [key.jwk(), weak.jwk()]}).to_string();
    let address = publisher(Arc::new(Mutex::new(keys)));
    let data = Data::new();
    let log = data.path().with_extension("log");
    fs::write(&log, "").unwrap();
    fs::set_permissions(&log, Permissions::from_mode(0o666)).unwrap();
    let more = "algorithms = [\"RS256\", \"PS256\"]\n";
    let config = configured(&data, &format!("http://{address}/jwks.json?token=hidden"), more);
    let server =
        Server::start_with(&data.path(), &["--config", &config], &[("LOG_FILE", log.to_str().unwrap())]);
    let good = key.token("RS256", &claims(&json!({})));
    let first = execute(&server, &good, "n");
    assert_eq!(first.status, 200);
    let refreshed = key.token("PS256", &claims(&json!({"jti": "t2"})));
    assert!(execute(&server, &refreshed, "n").head.contains("execgate-replayed: true"));
    for (token, rule) in [
        (key.token("RS256", &claims(&json!({"exp": 1_700_000_000}))), "expired-token"),
        (key.token("RS256", &claims(&json!({"aud": "https://other.example"}))), "token-audience"),
        (key.token("HS256", &claims(&json!({}))), "token-algorithm"),
        (weak.token("RS256", &claims(&json!({}))), "unknown-token-key"),
        (good.replace('.', ".e"), "token-form"),
    ] {
        let refused = execute(&server, &token, "n");
        assert_eq!((refused.status, refused.json()["rule"].as_str()), (401, Some(rule)));
        assert!(
            refused.head.contains("resource_metadata=\"https://gate.example/.well-known/oauth-protected")
        );
    }
    server.terminate();
    assert_eq!(server.ended(), Some(0));
    let log = fs::read_to_string(&log).unwrap();
    assert!(log.contains("keys of an issuer of tokens were read") && !log.contains("hidden"), "{log}");
    for token in [good, refreshed] {
        let signature = token.rsplit_once('.').unwrap().1;
        let record = fs::read(data.path().join("execgate.db")).unwrap();
        assert!(!log.contains(signature));
        assert!(!record.windows(signature.len()).any(|window| window == signature.as_bytes()));
    }
}

#[test]
fn keys_of_a_file_are_read_again_and_an_issuer_that_is_not_there_is_no_reason_not_to_start() {
    let (old, new) = (Key::new("k1", 2_048), Key::new("k2", 2_048));
    let data = Data::new();
    let file = data.path().with_extension("jwks");
    let publish = |key: &Key| fs::write(&file, json!({"keys": [key.jwk()]}).to_string()).unwrap();
    publish(&old);
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let config = configured(&data, file.to_str().unwrap(), "");
    let server = Server::start_with(&data.path(), &["--config", &config], &[]);
    assert_eq!(execute(&server, &old.token("RS256", &claims(&json!({}))), "n").status, 200);
    drop(server);
    publish(&new);
    let server = Server::start_with(&data.path(), &["--config", &config], &[]);
    let refused = execute(&server, &old.token("RS256", &claims(&json!({}))), "n");
    assert_eq!(refused.json()["rule"], "unknown-token-key");
    drop(server);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = configured(&data, &format!("http://{nobody}/"), "");
    let server = Server::start_with(&data.path(), &["--config", &config], &[]);
    let refused = execute(&server, &new.token("RS256", &claims(&json!({}))), "n");
    assert_eq!((refused.status, refused.json()["code"].as_str()), (503, Some("issuer-unreachable")));
}
