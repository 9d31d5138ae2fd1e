//! The administration socket of a real gateway: whose it is, what a dead one leaves, and who is let in.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use serde_json::{Value, json};

use super::server::{Data, Reply, Server, reply, run};

/// A gateway without code, which starts at once.
pub(super) fn quick(data: &Data) -> Server {
    let path = data.path().with_extension("toml");
    fs::write(&path, "[surfaces]\ncode = \"off\"\n").unwrap();
    Server::start_with(&data.path(), &["--config", path.to_str().unwrap()], &[])
}

pub(super) fn socket(data: &Data) -> PathBuf {
    data.path().join("admin.sock")
}

/// One exchange over a socket.
pub(super) fn over(socket: &Path, head: &str) -> Reply {
    over_with(socket, head, "Accept: */*")
}

/// The same with a header.
pub(super) fn over_with(socket: &Path, head: &str, header: &str) -> Reply {
    let mut stream = UnixStream::connect(socket).unwrap();
    let head = format!("{head} HTTP/1.1\r\nHost: localhost\r\n{header}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    reply(&answer)
}

#[test]
fn the_socket_is_the_servers_own_and_goes_with_it() {
    let data = Data::new();
    let server = quick(&data);
    let metadata = fs::symlink_metadata(socket(&data)).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
    assert_eq!(metadata.uid(), fs::metadata(data.path()).unwrap().uid());
    let health = over(&socket(&data), "GET /health");
    assert_eq!((health.status, &health.json()["paused"]), (200, &json!(false)));
    assert_eq!(server.get("/grants").status, 404, "the public door has none of it");
    server.terminate();
    assert_eq!(server.ended(), Some(0));
    assert!(!socket(&data).exists());
}

#[test]
fn what_a_killed_gateway_leaves_is_replaced_and_the_socket_of_a_live_one_is_not() {
    let data = Data::new();
    quick(&data).kill();
    assert!(socket(&data).exists());
    let first = quick(&data);
    let instance = |path: &Path| over(path, "GET /health").json()["instance"].clone();
    let before = instance(&socket(&data));
    let second = quick(&data);
    assert_eq!(instance(&socket(&data)), before);
    assert_ne!(instance(&data.path().join("admin-2.sock")), before);
    drop((first, second));
}

fn command(data: &Data, args: &[&str]) -> Output {
    let path = data.path();
    let mut all = args.to_vec();
    all.extend(["--data-dir", path.to_str().unwrap()]);
    run(&all, "")
}

fn told(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn commands_say_the_same_with_a_gateway_and_without() {
    let data = Data::new();
    let server = quick(&data);
    let made = told(&command(&data, &["grant", "create", "--name", "ci", "--label", "team=red", "--json"]));
    let id = made["grant"]["id"].as_str().unwrap();
    assert_eq!(server.execute("echo", json!({}), "n").status, 200);
    let asked = |data: &Data| {
        [
            &["grant", "list"][..],
            &["grant", "list", "--json"],
            &["grant", "show", id],
            &["grant", "show", "g0"],
            &["grant", "rotate", "g0"],
            &["runs", "list"],
            &["runs", "list", "--json", "--stage", "settled", "--limit", "1"],
            &["runs", "show", "00000000-0000-0000-0000-000000000000"],
            &["pause"],
            &["resume"],
        ]
        .map(|args| {
            let Output { status, stdout, stderr } = command(data, args);
            (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
        })
    };
    let with = asked(&data);
    server.kill();
    assert!(socket(&data).exists(), "what is left of it is nobody's");
    assert_eq!(asked(&data), with);
    assert!(with[0].1.contains(id) && with[3].2.contains("there is no grant g0"), "{with:?}");
    assert_eq!(with.map(|(code, ..)| code.unwrap()), [0, 0, 0, 2, 2, 0, 0, 2, 0, 0]);
}

#[test]
fn a_grant_that_is_made_through_the_socket_opens_at_once() {
    let data = Data::new();
    let path = data.path().with_extension("toml");
    fs::write(&path, "[surfaces]\ncode = \"off\"\n[identity]\nrequire_grant = true\ntenant = \"acme\"\n")
        .unwrap();
    let server = Server::start_with(&data.path(), &["--config", path.to_str().unwrap()], &[]);
    assert_eq!(server.execute("echo", json!({}), "n").status, 401);
    let made = told(&command(&data, &["grant", "create", "--name", "ci", "--json"]));
    assert_eq!(made["grant"]["tenant"], "acme", "that of the gateway");
    let body = json!({"action": "echo", "nonce": "n"}).to_string();
    let head = format!(
        "POST /execute HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        made["key"].as_str().unwrap(),
        body.len()
    );
    assert_eq!(reply(&server.raw(head.as_bytes())).status, 200);
}

#[test]
fn a_command_that_names_another_record_goes_to_that() {
    let data = Data::new();
    let _server = quick(&data);
    let other = ["--database", "sqlite://other.db"];
    let made = told(&command(&data, &["grant", "create", "--name", "x", "--json", other[0], other[1]]));
    let listed = |more: &[&str]| told(&command(&data, &[&["grant", "list", "--json"], more].concat()));
    assert_eq!((listed(&[]), listed(&other)[0]["id"].clone()), (json!([]), made["grant"]["id"].clone()));
}

#[test]
fn a_command_asks_whoever_answers_at_the_socket() {
    let data = Data::new();
    fs::create_dir(data.path()).unwrap();
    let listener = UnixListener::bind(socket(&data)).unwrap();
    let says = |status: &'static str, body: &'static str| {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let listener = listener.try_clone().unwrap();
        let asked = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4_096];
            // The whole question is one small write.
            let length = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..length]).lines().next().unwrap().to_owned()
        });
        let output = command(&data, &["grant", "list"]);
        (asked.join().unwrap(), output.status.code(), output)
    };
    let (asked, code, output) =
        says("200 OK", r#"[{"id":"g1","state":"active","tenant":"t","name":"n","roles":[]}]"#);
    assert_eq!((asked.as_str(), code), ("GET /grants?all=false HTTP/1.1", Some(0)));
    assert!(output.stdout.starts_with(b"g1  active"));
    let (_, code, output) = says("503 Service Unavailable", r#"{"detail":"the record is busy"}"#);
    assert_eq!((code, output.stderr.as_slice()), (Some(2), b"execgate: the record is busy\n".as_slice()));
    let (_, code, output) = says("200 OK", "what?");
    assert_eq!(code, Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_listener_lets_keys_in_by_their_roles() {
    let data = Data::new();
    // Free a moment ago, on an address that nobody else takes.
    let address = TcpListener::bind("127.77.7.7:0").unwrap().local_addr().unwrap();
    let path = data.path().with_extension("toml");
    fs::write(&path, format!("[surfaces]\ncode = \"off\"\n[admin]\nlisten = \"{address}\"\n")).unwrap();
    let _server = Server::start_with(&data.path(), &["--config", path.to_str().unwrap()], &[]);
    let made = told(&command(&data, &["grant", "create", "--name", "eye", "--role", "auditor", "--json"]));
    let ask = |path: &str, key: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{key}Connection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        reply(&answer).status
    };
    let key = format!("Authorization: Bearer {}\r\n", made["key"].as_str().unwrap());
    assert_eq!((ask("/runs", ""), ask("/runs", &key), ask("/grants", &key)), (401, 200, 403));
}

#[test]
fn another_user_is_refused_even_where_the_files_let_it_in() {
    // Only root can be somebody else.
    if !geteuid().is_root() {
        return;
    }
    let data = Data::new();
    let _server = quick(&data);
    fs::set_permissions(data.path(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(socket(&data), Permissions::from_mode(0o666)).unwrap();
    let path = socket(&data);
    // Credentials belong to threads, and this one ends.
    let refused = thread::spawn(move || {
        let (uid, gid) = (Uid::from_raw(4_000), Gid::from_raw(4_000));
        set_thread_groups(&[]).unwrap();
        set_thread_res_gid(gid, gid, gid).unwrap();
        set_thread_res_uid(uid, uid, uid).unwrap();
        over(&path, "GET /health")
    });
    let refused = refused.join().unwrap();
    assert_eq!((refused.status, refused.json()["rule"].as_str()), (403, Some("peer")));
    assert_eq!(over(&socket(&data), "GET /health").status, 200);
}
