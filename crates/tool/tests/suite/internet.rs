//! `http_get` on an internet of its own, in network namespaces that no packet leaves: with the host's own resolver, the
//! guard as it is, and TLS. It needs root, as the sandbox's tests do, and fails where that cannot be had.
//!
//! The process that fetches is this test binary, started with the name of the test in the namespaces of the host.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use execgate_model::{BodyPlace, Effect, RunId, RunOptions, Verdict};
use execgate_tool::builtin::{HttpClient, Parts, all};
use execgate_tool::{Call, Cancel, Registry, RunContext, Workers};
use serde_json::{Value, json};

/// Says to this binary that it is the one that fetches.
const FETCHES: &str = "EXECGATE_TEST_FETCHES";

/// This test's name, as the test binary knows it.
const NAME: &str = "suite::internet::nothing_private_is_reached_and_the_public_is";

/// The servers of an internet, which end with it.
struct Internet {
    servers: Child,
    said: BufReader<ChildStdout>,
    folder: tempfile::TempDir,
    host: String,
}

impl Internet {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/internet.py");
        let mut servers = command("unshare")
            .args(["--net", "--", "/usr/bin/python3"])
            .arg(script)
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(servers.stdout.take().unwrap());
        let host = line(&mut said);
        fs::write(folder.path().join("resolv.conf"), "nameserver 193.0.14.1\n").unwrap();
        Self { servers, said, folder, host }
    }

    /// Has this binary fetch, with the name server and the certificates of this internet.
    fn fetch(&self) -> bool {
        let folder = self.folder.path().to_str().unwrap();
        let script = "mount --bind \"$1/resolv.conf\" /etc/resolv.conf && \
                      exec nsenter --target \"$2\" --net \"$3\" \"$4\" --exact --nocapture";
        let binary = std::env::current_exe().unwrap();
        let status = command("unshare")
            .args(["--mount", "--", "/bin/sh", "-c", script, "sh", folder, &self.host])
            .arg(binary)
            .arg(NAME)
            .env(FETCHES, "1")
            .env("SSL_CERT_FILE", self.folder.path().join("ca.pem"))
            .status();
        status.unwrap().success()
    }

    /// How many connections have come to what nobody may reach.
    fn reached(&mut self) -> String {
        writeln!(self.servers.stdin.as_mut().unwrap(), "?").unwrap();
        line(&mut self.said)
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        drop(self.servers.stdin.take());
        self.servers.wait().unwrap();
    }
}

fn line(said: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    line.trim().to_owned()
}

#[expect(clippy::disallowed_methods, reason = "the internet of a test is made of processes")]
fn command(program: &str) -> Command {
    Command::new(program)
}

/// What came of a fetch: the status, or the name of the error.
async fn fetched(registry: &Registry, url: &str) -> Value {
    let (payload, options) = (json!({"url": url}), RunOptions::default());
    let call = Call { payload: &payload, options: &options, effect: Effect::Live };
    let Ok(mut prepared) = registry.find("http_get").unwrap().prepare(&call) else { return json!("refused") };
    prepared.reserve().unwrap();
    let context = RunContext {
        run: RunId::from_entropy([0; 16]),
        cancel: Cancel::default(),
        watcher: None,
        place: BodyPlace::default(),
    };
    let product = prepared.run(context).await.unwrap();
    match product.verdict {
        Verdict::Value => product.result["status"].clone(),
        Verdict::Exception | Verdict::Exit { .. } | Verdict::Limit { .. } | Verdict::Timeout { .. } => {
            product.result["error"]["name"].clone()
        }
    }
}

/// Every spelling of an address that is nobody's business.
const WRITTEN: [&str; 18] = [
    "127.0.0.1",
    "0x7f000001",
    "017700000001",
    "2130706433",
    "127.1",
    "0.0.0.0",
    "10.9.9.9",
    "172.16.9.9",
    "192.168.9.9",
    "100.64.9.9",
    "169.254.169.254",
    "193.0.14.2",
    "[::1]",
    "[fc00::9]",
    "[fd00:ec2::254]",
    "[::ffff:a09:909]",
    "[64:ff9b::a09:909]",
    "[2002:a09:909::1]",
];

/// Names that lead to such an address.
const NAMED: [&str; 12] = [
    "private.example",
    "mixed.example",
    "metadata.example",
    "shared.example",
    "host.example",
    "loopback.example",
    "loopback6.example",
    "unique.example",
    "metadata6.example",
    "mapped.example",
    "translated.example",
    "tunnelled.example",
];

/// Fetches, in the host's namespaces.
async fn fetch_all() {
    let registry =
        Registry::new(all(&Parts { workers: Workers::none(), client: HttpClient::new() })).unwrap();
    let get = async |url: &str| fetched(&registry, url).await;
    for url in
        ["http://good.example/", "http://six.example/", "https://good.example/", "http://93.184.216.34/"]
    {
        assert_eq!(get(url).await, 200, "{url}");
    }
    assert_eq!(get("http://good.example/to/http%3A%2F%2Fsix.example%2Fx").await, 200);
    for host in WRITTEN {
        let url = format!("http://{host}/");
        assert_eq!(get(&url).await, "refused", "{url}");
        let led = format!(
            "http://good.example/to/http%3A%2F%2F{}%2F",
            host.replace('[', "%5B").replace(']', "%5D")
        );
        assert_eq!(get(&led).await, "AddressRefused", "{led}");
    }
    for name in NAMED {
        assert_eq!(get(&format!("http://{name}/")).await, "AddressRefused", "{name}");
        let led = format!("http://good.example/to/%2F%2F{name}%2F");
        assert_eq!(get(&led).await, "AddressRefused", "{led}");
    }
    assert_eq!(get("http://rebind.example/").await, 200);
    assert_eq!(get("http://rebind.example/").await, "AddressRefused");
    // Told as those that are there: which names there are is nobody's business either.
    assert_eq!(get("http://nowhere.example/").await, "AddressRefused");
    let down = "https://good.example/to/http%3A%2F%2Fgood.example%2F";
    assert_eq!(get(down).await, "AddressRefused", "what was asked by TLS is not asked in the clear");
    for name in ["wrong", "expired", "untrusted"] {
        assert_eq!(get(&format!("https://{name}.example/")).await, "TlsFailed", "{name}");
    }
}

#[test]
fn nothing_private_is_reached_and_the_public_is() {
    #[expect(clippy::disallowed_methods, reason = "this is how a test binary gives itself an order")]
    if std::env::var_os(FETCHES).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(fetch_all());
    }
    let mut internet = Internet::start();
    assert!(internet.fetch(), "what the process that fetches has said stands above");
    assert_eq!(internet.reached(), "0", "connections to what nobody may reach");
}
