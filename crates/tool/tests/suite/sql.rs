//! `sql_write` in a real PostgreSQL: what it writes, what it does not, and what is said where the connection dies.

#![expect(clippy::disallowed_methods, reason = "the test starts a server of its own")]

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use execgate_model::{BodyPlace, Effect, Product, RunId, RunOptions, Verdict};
use execgate_tool::builtin::{Database, SqlWrite};
use execgate_tool::{Call, Cancel, NotStarted, RunContext, RunFault, Secret, Tool};
use rustix::process::geteuid;
use serde_json::{Value, json};
use tempfile::TempDir;
use zeroize::Zeroizing;

/// Whoever the database runs as where the tests run as root, which it refuses.
const NOBODY: u32 = 65_534;

const PASSWORD: &str = "hush-hush-of-the-test";

/// How long the server may take to be there.
const PATIENCE: Duration = Duration::from_secs(60);

struct Postgres {
    server: Child,
    folder: TempDir,
    port: u16,
}

/// Where the distribution keeps the programs of the server, whatever its version.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("`cargo xtask setup` installs PostgreSQL");
    let found = versions.map(|version| version.unwrap().path().join("bin"));
    found.filter(|bin| bin.join("postgres").is_file()).max().expect("a version is installed")
}

fn as_nobody(program: &Path) -> Command {
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(program);
    command
}

fn done(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Postgres {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::write(folder.path().join("password"), PASSWORD).unwrap();
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        done(
            Command::new("openssl")
                .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
                .args(["-days", "2", "-subj", "/CN=db", "-addext", "subjectAltName=IP:127.0.0.1"])
                .args(["-addext", "basicConstraints=critical,CA:FALSE"])
                .arg("-keyout")
                .arg(&key)
                .arg("-out")
                .arg(&certificate),
        );
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        if geteuid().is_root() {
            for path in [&data, &key] {
                chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        let bin = programs();
        let mut initdb = as_nobody(&bin.join("initdb"));
        initdb.args(["--no-sync", "--username=app", "--auth=scram-sha-256", "--locale=C", "--encoding=UTF8"]);
        done(initdb.arg("--pwfile").arg(folder.path().join("password")).arg("--pgdata").arg(&data));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = as_nobody(&bin.join("postgres"));
        server.arg("-D").arg(&data).args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
        server.args(["-c", "unix_socket_directories=", "-c", "ssl=on", "-c", "fsync=off"]);
        server.args(["-c", &format!("ssl_cert_file={}", certificate.display())]);
        server.args(["-c", &format!("ssl_key_file={}", key.display())]);
        let server = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let postgres = Self { server, folder, port };
        let until = Instant::now() + PATIENCE;
        while !postgres.psql("SELECT 1").0 {
            assert!(Instant::now() < until, "the server does not answer");
            thread::yield_now();
        }
        postgres
    }

    /// What the server's own client says.
    fn psql(&self, sql: &str) -> (bool, String) {
        let mut psql = Command::new(programs().join("psql"));
        psql.args(["-X", "-q", "-t", "-A", "-h", "127.0.0.1", "-U", "app", "-d", "postgres", "-c", sql]);
        psql.env("PGPASSWORD", PASSWORD).args(["-p", &self.port.to_string()]);
        let output = psql.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn make(&self, sql: &str) {
        assert!(self.psql(sql).0, "{sql}");
    }

    fn rows(&self) -> String {
        self.psql("SELECT string_agg(n::text, ',' ORDER BY n) FROM t").1
    }

    fn tool(&self, mode: &str) -> SqlWrite {
        tool(self.port, mode, None)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

fn tool(port: u16, mode: &str, ca_file: Option<&Path>) -> SqlWrite {
    let dsn = format!("postgres://app:{PASSWORD}@127.0.0.1:{port}/postgres?sslmode={mode}");
    let secret = Secret::new("SQL", Zeroizing::new(dsn)).unwrap();
    SqlWrite::new(Database::new(&secret, ca_file).unwrap()).unwrap()
}

async fn run_for(
    tool: &SqlWrite,
    timeout_ms: u64,
    statement: &str,
    params: Value,
) -> Result<Product, RunFault> {
    let options = RunOptions { timeout_ms: Some(timeout_ms), ..RunOptions::default() };
    let payload = json!({"statement": statement, "params": params});
    let call = Call { payload: &payload, options: &options, effect: Effect::Live };
    let mut prepared = tool.prepare(&call).unwrap();
    prepared.reserve().unwrap();
    let run = RunId::from_entropy([9; 16]);
    let context = RunContext { run, cancel: Cancel::default(), watcher: None, place: BodyPlace::default() };
    prepared.run(context).await
}

async fn run(tool: &SqlWrite, statement: &str, params: Value) -> Result<Product, RunFault> {
    run_for(tool, 30_000, statement, params).await
}

/// What a statement that failed says.
fn error(product: &Product) -> (Verdict, String) {
    let told = product.result.to_string();
    assert!(!told.contains(PASSWORD), "{told}");
    (product.verdict, told)
}

/// Where a connection is cut.
#[derive(Clone, Copy, PartialEq)]
enum Cut {
    /// What has this in it does not get through.
    Before(&'static [u8]),
    /// It does, and nothing comes back.
    Behind(&'static [u8]),
}

/// A line to the server that is cut. Serves one connection.
fn cut_line(port: u16, cut: Cut) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
        let (mut back, mut from) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || drop(std::io::copy(&mut from, &mut back)));
        let mut bytes = [0; 64 << 10];
        while let Ok(count @ 1..) = client.read(&mut bytes) {
            let (Cut::Before(mark) | Cut::Behind(mark)) = cut;
            let is_there = bytes[..count].windows(mark.len()).any(|part| part == mark);
            if is_there {
                // Nothing of the answer gets back, whatever comes.
                client.shutdown(Shutdown::Both).unwrap();
                if matches!(cut, Cut::Behind(_)) {
                    server.write_all(&bytes[..count]).unwrap();
                    // Until the server has done it: it ends its side when this one ends.
                    server.shutdown(Shutdown::Write).unwrap();
                    drop(std::io::copy(&mut server, &mut std::io::sink()));
                }
                return;
            }
            server.write_all(&bytes[..count]).unwrap();
        }
    });
    own
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_written_once_or_not_at_all_and_never_told_wrong() {
    let postgres = Postgres::start();
    postgres.make("CREATE TABLE t (n int PRIMARY KEY, x text, j jsonb, b bool, d numeric)");
    postgres.make("CREATE TABLE child (n int REFERENCES t DEFERRABLE INITIALLY DEFERRED)");
    let tool = postgres.tool("disable");

    let insert = "INSERT INTO t VALUES ($1, $2, $3, $4, $5), ($1 + 1, NULL, NULL, NULL, NULL)";
    let params = json!([1, "o'clock; DROP TABLE t", {"k": [1, null]}, true, 1.25]);
    let written = run(&tool, insert, params).await.unwrap();
    assert_eq!((written.verdict, written.result), (Verdict::Value, json!({"rows_affected": 2})));
    assert_eq!(postgres.rows(), "1,2");
    let row = postgres.psql("SELECT x, j->'k'->>0, b, d FROM t WHERE n = 1").1;
    assert_eq!(row, "o'clock; DROP TABLE t|1|t|1.25");

    // What the database refuses has written nothing, and says why.
    for (statement, params, why) in [
        ("INSERT INTO t (n) VALUES (3), (1)", json!([]), "23505"),
        ("INSERT INTO t (n) VALUES (3); INSERT INTO t (n) VALUES (4)", json!([]), "42601"),
        ("INSERT INTO t (n) VALUES ($1)", json!(["no number"]), "22P02"),
        ("INSERT INTO t (n) VALUES ($1)", json!([]), "1 parameters, and 0 came"),
        ("INSERT INTO child VALUES (77)", json!([]), "23503"),
        ("UPDATE missing SET n = 1", json!([]), "42P01"),
    ] {
        let product = run(&tool, statement, params).await.unwrap();
        let (verdict, told) = error(&product);
        assert!(verdict == Verdict::Exception && told.contains(why), "{statement}: {told}");
    }
    assert_eq!((postgres.rows(), postgres.psql("SELECT count(*) FROM child").1), ("1,2".into(), "0".into()));

    // Its time is over: the database has ended it.
    let slow =
        run_for(&tool, 1_000, "INSERT INTO t (n) SELECT 5 FROM pg_sleep(60)", json!([])).await.unwrap();
    assert_eq!(slow.verdict, Verdict::Timeout { after_ms: 1_000 });
    assert_eq!(postgres.rows(), "1,2");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_connection_dies_says_what_is_known() {
    let postgres = Postgres::start();
    postgres.make("CREATE TABLE t (n int PRIMARY KEY)");
    let over = |cut: Cut| tool(cut_line(postgres.port, cut), "disable", None);
    let insert = "INSERT INTO t VALUES ($1)";

    let early = run(&over(Cut::Before(b"INSERT")), insert, json!([1])).await.unwrap();
    let (verdict, told) = error(&early);
    assert!(verdict == Verdict::Exception && told.contains("ConnectionLost"), "{told}");
    assert_eq!(postgres.rows(), "");

    for (cut, number) in [(Cut::Before(b"COMMIT"), 2), (Cut::Behind(b"COMMIT"), 3)] {
        let lost = run(&over(cut), insert, json!([number])).await;
        assert!(matches!(lost, Err(RunFault::Lost(_))), "{lost:?}");
    }
    // One of the two is there; nothing told them apart.
    let until = Instant::now() + PATIENCE;
    while postgres.rows() != "3" {
        assert!(Instant::now() < until, "{}", postgres.rows());
    }

    // Nothing had begun.
    for unreachable in [tool(1, "disable", None), over(Cut::Before(b"user"))] {
        let none = run(&unreachable, insert, json!([4])).await;
        let Err(RunFault::NotStarted(NotStarted::Unavailable(told))) = none else { panic!("{none:?}") };
        assert!(!told.contains(PASSWORD) && !told.contains("127.0.0.1"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_the_certificate_is_checked() {
    let postgres = Postgres::start();
    postgres.make("CREATE TABLE t (n int PRIMARY KEY)");
    let insert = "INSERT INTO t VALUES (1)";
    let unknown = run(&postgres.tool("require"), insert, json!([])).await;
    assert!(matches!(unknown, Err(RunFault::NotStarted(_))), "{unknown:?}");
    assert_eq!(postgres.rows(), "");
    let certificate = postgres.folder.path().join("cert.pem");
    let known = tool(postgres.port, "require", Some(&certificate));
    assert_eq!(run(&known, insert, json!([])).await.unwrap().result, json!({"rows_affected": 1}));
    assert_eq!(postgres.rows(), "1");
}
