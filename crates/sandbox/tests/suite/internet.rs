//! An internet of a test's own, in network namespaces that no packet leaves; and a sandbox on a host of it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use execgate_sandbox::{
    Config, Egress, EgressMeans, EgressRules, Network, Request, Rotation, Run, Sandbox, Tier, TierChoice,
    Verdict, spawn_helper_of,
};
use execgate_tool::code;

use super::world::{NO_CHECKS, PATIENCE, image, python, told};

/// What every guest here asks with.
const ASK: &str = "import socket, ssl, urllib.request, urllib.error\n\
    def ask(url, data=None):\n    \
    try:\n        \
    with urllib.request.urlopen(url, data, timeout=15, context=ssl._create_unverified_context()) as got: return got.read().decode()\n    \
    except urllib.error.HTTPError as e: return f'{e.code} {e.reason}'\n    \
    except urllib.error.URLError as e: return str(e.reason)\n    \
    except OSError as e: return str(e)\n\
    def raw(*pieces):\n    \
    s = socket.create_connection(('127.0.0.1', 3128), 15); got = b''\n    \
    for piece in pieces: s.sendall(piece); got += s.recv(9999)\n    \
    try:\n        \
    while more := s.recv(9999): got += more\n    \
    except OSError as e: got += str(e).encode()\n    \
    return got.decode('latin-1')\n";

/// The servers, the host's namespace, and a sandbox whose helper was started in that.
pub(super) struct Internet {
    servers: Child,
    _folder: tempfile::TempDir,
    pub(super) sandbox: Sandbox,
}

impl Internet {
    pub(super) fn start() -> Self {
        Self::of_tier(Tier::Jail, &["10.9.9.0/24"])
    }

    pub(super) fn of_tier(tier: Tier, private_cidrs: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (certificate, key) = (path("certificate.pem"), path("key.pem"));
        let made = command("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-subj",
                "/CN=good.example",
            ])
            .args(["-keyout", &key, "-out", &certificate])
            .stderr(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/internet.py");
        let mut servers = command("unshare")
            .args(["--net", "--", "/usr/bin/python3"])
            .arg(script)
            .args([certificate, key])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut host = String::new();
        BufReader::new(servers.stdout.take().unwrap()).read_line(&mut host).unwrap();
        let helper = path("helper");
        let start = format!(
            "#!/bin/sh\nexec /usr/bin/env -i /usr/bin/nsenter --target {} --net {} __sandbox-helper\n",
            host.trim(),
            env!("CARGO_BIN_EXE_sandbox-helper")
        );
        fs::write(&helper, start).unwrap();
        fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
        let image = image();
        let languages = code::present(&image.path);
        let config = Config {
            image,
            languages,
            slots: 4,
            tier: TierChoice::Exactly(tier),
            residents: crate::RESIDENTS,
            id_block: 0,
            egress: Some(EgressMeans {
                name_servers: vec!["193.0.14.1".parse().unwrap()],
                private_cidrs: private_cidrs.iter().map(|text| (*text).to_owned()).collect(),
                denied_cidrs: Vec::new(),
            }),
            image_checks: NO_CHECKS,
            rotation: Rotation::default(),
        };
        let sandbox = Sandbox::start(spawn_helper_of(Path::new(&helper)).unwrap(), config).unwrap();
        sandbox.warm_up(PATIENCE).unwrap();
        Self { servers, _folder: folder, sandbox }
    }

    /// Runs Python that may use `ask` and `raw`, and must come to a value.
    pub(super) fn run(&self, rules: EgressRules, code: &str) -> Run {
        let run = self.sandbox.run(with(rules, python(&format!("{ASK}{code}")))).unwrap();
        assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
        run
    }

    /// The same, and the lines that it has printed.
    pub(super) fn lines(&self, rules: EgressRules, code: &str) -> Vec<String> {
        let run = self.run(rules, code);
        String::from_utf8(run.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        drop(self.servers.stdin.take());
        self.servers.wait().unwrap();
    }
}

/// A request with these rules.
pub(super) fn with(rules: EgressRules, request: Request) -> Request {
    Request { network: Network::Egress(Egress::new(rules).unwrap()), ..request }
}

/// Rules of these names and networks.
pub(super) fn rules(domains: &[&str], cidrs: &[&str]) -> EgressRules {
    let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    EgressRules { domains: own(domains), cidrs: own(cidrs), ..EgressRules::default() }
}

#[expect(clippy::disallowed_methods, reason = "the internet of a test is made of processes")]
fn command(program: &str) -> Command {
    Command::new(program)
}
