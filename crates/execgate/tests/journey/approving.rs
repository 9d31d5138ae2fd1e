//! An approval from end to end, with the real binary: a key is made, a call waits, the gateway dies and comes again, the
//! approver looks and signs, and the call has its answer under its nonce.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::server::{Data, Server, execgate};

const PASSPHRASE: &str = "correct horse battery staple";

/// The secret that webhooks are signed with.
const HOOK: &str = "a secret of the hook";

/// Runs a command of the approver's.
fn approver(args: &[&str], url: &str) -> Output {
    let mut command = execgate();
    command.args(args).env("EXECGATE_PASSPHRASE", PASSPHRASE).env("EXECGATE_URL", url);
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The folder of the approver's and the operator's files.
fn beside(data: &Data) -> PathBuf {
    data.path().parent().unwrap().to_owned()
}

/// A gateway whose rules want Anna for `echo`, by a key that she has made.
fn configured(folder: &Path, more: &str) -> (String, String) {
    let key = folder.join("anna.key");
    let key = key.to_str().unwrap().to_owned();
    let made = approver(&["approver", "keygen", "--out", &key, "--name", "anna"], "");
    assert!(made.status.success(), "{}", text(&made));
    let policy = folder.join("policy.json");
    let rule = json!({"echo": {"require_approval": {"approvers": ["anna"], "ttl_s": 600}}});
    fs::write(&policy, json!({"version": "1", "default": "allow", "tools": rule}).to_string()).unwrap();
    let config = folder.join("gate.toml");
    let section = String::from_utf8(made.stdout).unwrap();
    let told =
        format!("[policy]\nfile = \"{}\"\n[surfaces]\ncode = \"off\"\n{more}\n{section}", policy.display());
    fs::write(&config, told).unwrap();
    (key, config.to_str().unwrap().to_owned())
}

fn url(server: &Server) -> String {
    format!("http://{}", server.address())
}

fn call(server: &Server) -> (u16, Value) {
    let reply = server.execute("echo", json!({"msg": "a\u{202e}b"}), "n");
    (reply.status, reply.json())
}

#[test]
fn a_call_waits_for_its_approver_over_a_death_of_the_gateway() {
    let data = Data::new();
    let (key, config) = configured(&beside(&data), "");
    let server = Server::start_with(&data.path(), &["--config", &config], &[]);
    let (status, told) = call(&server);
    assert_eq!((status, &told["status"]), (202, &json!("parked")), "{told}");
    let id = told["id"].as_str().unwrap().to_owned();
    server.kill();

    let server = Server::start_with(&data.path(), &["--config", &config], &[]);
    assert_eq!(call(&server).1, told);
    let listed = approver(&["approvals"], &url(&server));
    assert!(listed.status.success() && text(&listed).starts_with(&id), "{}", text(&listed));
    // All of it is shown, and nothing in it can turn a line around.
    let shown = approver(&["approvals", "show", &id], &url(&server));
    assert!(text(&shown).contains("\"msg\": \"a\\u202eb\""), "{}", text(&shown));
    let digest = told["action_digest"].as_str().unwrap();
    assert!(text(&shown).contains(&format!("{digest} (computed here)")), "{}", text(&shown));

    // Without a terminal nobody is asked, and nothing is signed.
    let unasked = approver(&["approve", &id, "--key", &key], &url(&server));
    assert_eq!((unasked.status.code(), call(&server).0), (Some(2), 202), "{}", text(&unasked));
    let approved = approver(&["approve", &id, "--key", &key, "--yes"], &url(&server));
    assert!(approved.status.success(), "{}", text(&approved));
    let (status, answer) = call(&server);
    assert_eq!((status, &answer["result"]["echo"]["msg"]), (200, &json!("a\u{202e}b")), "{answer}");
    assert_eq!(call(&server).1, answer);
    let receipt = server.get(&format!("/receipts/{id}")).json();
    assert_eq!(statement(&receipt)["predicate"]["approval"], json!({"artifact": id}));

    let again = approver(&["approve", &id, "--key", &key, "--yes"], &url(&server));
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again).contains("does not wait for an approval any more"), "{}", text(&again));
}

/// The statement in a receipt file.
fn statement(receipt: &Value) -> Value {
    let payload = receipt["envelope"]["payload"].as_str().unwrap();
    serde_json::from_slice(&STANDARD.decode(payload).unwrap()).unwrap()
}

#[test]
fn a_no_is_told_to_the_caller_with_its_reason() {
    let data = Data::new();
    let (key, config) = configured(&beside(&data), "");
    let server = Server::start_with(&data.path(), &["--config", &config], &[]);
    let id = call(&server).1["id"].as_str().unwrap().to_owned();
    let args = ["approve", &id, "--key", &key, "--yes", "--deny", "--reason", "not today"];
    let denied = approver(&args, &url(&server));
    assert!(denied.status.success(), "{}", text(&denied));
    let (status, told) = call(&server);
    assert_eq!((status, &told["code"]), (403, &json!("approval-denied")));
    assert!(told["detail"].as_str().unwrap().contains("not today"), "{told}");
}

#[test]
fn openssl_opens_the_key_by_its_passphrase_and_a_wrong_one_opens_nothing() {
    let data = Data::new();
    let (key, config) = configured(&beside(&data), "");
    #[expect(clippy::disallowed_methods, reason = "a cross check needs the other tool")]
    let mut openssl = Command::new("openssl");
    let raw = openssl.args([
        "pkey",
        "-in",
        &key,
        "-passin",
        &format!("pass:{PASSPHRASE}"),
        "-pubout",
        "-outform",
        "DER",
    ]);
    let raw = raw.output().unwrap();
    assert!(raw.status.success(), "{}", text(&raw));
    let public = STANDARD.encode(&raw.stdout[raw.stdout.len() - 32..]);
    assert!(fs::read_to_string(config).unwrap().contains(&public));
    let short = execgate()
        .args(["approver", "keygen", "--out", &format!("{key}2"), "--name", "anna"])
        .env("EXECGATE_PASSPHRASE", "short")
        .output()
        .unwrap();
    assert_eq!(short.status.code(), Some(2));
}

/// Takes one message, answers 503 to the first try and 204 to the second.
fn hook() -> (u16, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let taking = thread::spawn(move || {
        ["503 Service Unavailable", "204 No Content"]
            .map(|status| take(&listener.accept().unwrap().0, status))
            .to_vec()
    });
    (port, taking)
}

fn take(mut stream: &TcpStream, status: &str) -> String {
    let (mut bytes, mut more) = (Vec::new(), [0; 4096]);
    while !bytes.windows(2).any(|pair| pair == b"\"}") {
        let count = stream.read(&mut more).unwrap();
        bytes.extend_from_slice(&more[..count]);
        assert!(count > 0, "{}", String::from_utf8_lossy(&bytes));
    }
    stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).unwrap();
    drop(stream.shutdown(Shutdown::Both));
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_operators_service_is_told_by_a_signed_message_until_it_takes_it() {
    let data = Data::new();
    let (port, taking) = hook();
    let more = format!(
        "[webhook]\nurl = \"http://127.0.0.1:{port}/hook\"\nsecret = \"HOOK\"\nallow_private = true\n\
         [secrets.HOOK]\nenv = \"HOOK\"\n"
    );
    let (_key, config) = configured(&beside(&data), &more);
    let server = Server::start_with(&data.path(), &["--config", &config], &[("HOOK", HOOK)]);
    let told = call(&server).1;
    let messages = taking.join().unwrap();
    for message in &messages {
        let (head, body) = message.split_once("\r\n\r\n").unwrap();
        let header = |name: &str| {
            let line = head.lines().find_map(|line| line.split_once(": ").filter(|(told, _)| *told == name));
            line.unwrap_or_else(|| panic!("{name}: {head}")).1.to_owned()
        };
        let said: Value = serde_json::from_str(body).unwrap();
        assert_eq!((&said["approval_id"], &said["action_digest"]), (&told["id"], &told["action_digest"]));
        assert!(!body.contains("msg"), "{body}");
        let signed = format!("{}.{}.{body}", header("webhook-id"), header("webhook-timestamp"));
        assert_eq!(header("webhook-signature"), format!("v1,{}", openssl_mac(&beside(&data), &signed)));
    }
}

/// HMAC-SHA256 in base64, by `openssl`.
fn openssl_mac(folder: &Path, message: &str) -> String {
    let path = folder.join("message");
    fs::write(&path, message).unwrap();
    #[expect(clippy::disallowed_methods, reason = "a cross check needs the other tool")]
    let mut openssl = Command::new("openssl");
    let openssl = openssl.args(["dgst", "-sha256", "-hmac", HOOK, "-binary"]).arg(path);
    STANDARD.encode(openssl.output().unwrap().stdout)
}

/// Takes the next message: its `webhook-id`, answered with this status and so many bytes.
fn next_message(listener: &TcpListener, status: &str, bytes: usize) -> String {
    let (mut stream, _) = listener.accept().unwrap();
    let (mut asked, mut more) = (Vec::new(), [0; 4096]);
    while !asked.windows(2).any(|pair| pair == b"\"}") {
        let count = stream.read(&mut more).unwrap();
        asked.extend_from_slice(&more[..count]);
        assert!(count > 0, "{}", String::from_utf8_lossy(&asked));
    }
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {bytes}\r\n\r\n");
    // Nothing more of it than the head is read.
    drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&vec![b'x'; bytes])));
    let asked = String::from_utf8(asked).unwrap();
    let id = asked.lines().find_map(|line| line.strip_prefix("webhook-id: "));
    id.unwrap().to_owned()
}

#[test]
fn a_message_outlives_its_gateway_and_a_long_answer_is_taken() {
    let data = Data::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let more = format!(
        "[webhook]\nurl = \"http://127.0.0.1:{port}/hook\"\nsecret = \"HOOK\"\nallow_private = true\n\
         [secrets.HOOK]\nenv = \"HOOK\"\n"
    );
    let (_key, config) = configured(&beside(&data), &more);
    let start = || Server::start_with(&data.path(), &["--config", &config], &[("HOOK", HOOK)]);
    let server = start();
    let first = call(&server).1["id"].as_str().unwrap().to_owned();
    assert_eq!(next_message(&listener, "503 Service Unavailable", 0), first);
    server.kill();

    let server = start();
    assert_eq!(next_message(&listener, "200 OK", 200 << 10), first);
    // The next look at the record comes behind the note of the first.
    let other = server.execute("echo", json!({"msg": "b"}), "m").json();
    let second = other["id"].as_str().unwrap().to_owned();
    assert_eq!(next_message(&listener, "503 Service Unavailable", 0), second);
    server.kill();
    let _server = start();
    assert_eq!(next_message(&listener, "204 No Content", 0), second);
}

#[test]
fn a_key_that_nothing_protects_is_refused_until_it_is_encrypted_or_asked_for_in_words() {
    let data = Data::new();
    let folder = beside(&data);
    let (key, config) = configured(&folder, "");
    let server = Server::start_with(&data.path(), &["--config", &config], &[]);
    let id = call(&server).1["id"].as_str().unwrap().to_owned();
    let (plain, closed) = (folder.join("plain.key"), folder.join("closed.key"));
    let (plain, closed) = (plain.to_str().unwrap(), closed.to_str().unwrap());
    let pass = format!("pass:{PASSPHRASE}");
    let openssl = |args: &[&str]| {
        #[expect(clippy::disallowed_methods, reason = "a cross check needs the other tool")]
        let mut openssl = Command::new("openssl");
        let done = openssl.args(args).output().unwrap();
        assert!(done.status.success(), "{}", text(&done));
    };
    openssl(&["pkey", "-in", &key, "-passin", &pass, "-out", plain]);
    let refused = approver(&["approve", &id, "--key", plain, "--name", "anna", "--yes"], &url(&server));
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused).contains("--unencrypted-key"), "{}", text(&refused));
    // As it says.
    openssl(&[
        "pkcs8",
        "-topk8",
        "-scrypt",
        "-v2",
        "aes-256-cbc",
        "-in",
        plain,
        "-out",
        closed,
        "-passout",
        &pass,
    ]);
    let approved = approver(&["approve", &id, "--key", closed, "--name", "anna", "--yes"], &url(&server));
    assert!(approved.status.success(), "{}", text(&approved));
    assert_eq!(call(&server).0, 200);
    let other = server.execute("echo", json!({"msg": "b"}), "m").json();
    let args = [
        "approve",
        other["id"].as_str().unwrap(),
        "--key",
        plain,
        "--name",
        "anna",
        "--yes",
        "--unencrypted-key",
    ];
    let approved = approver(&args, &url(&server));
    assert!(approved.status.success(), "{}", text(&approved));
}

#[test]
fn a_grant_key_goes_in_clear_to_no_other_machine() {
    let ask = |more: &[&str]| {
        let mut command = execgate();
        command
            .args(["approvals", "--url", "http://gate.invalid"])
            .args(more)
            .env("EXECGATE_KEY", "ek_secret");
        command.output().unwrap()
    };
    let refused = text(&ask(&[]));
    assert!(refused.contains("--key-in-clear") && !refused.contains("ek_secret"), "{refused}");
    let asked = text(&ask(&["--key-in-clear"]));
    assert!(asked.contains("the gateway cannot be asked") && !asked.contains("ek_secret"), "{asked}");
}

#[test]
fn a_name_that_a_rule_has_and_no_approver_is_warned_of() {
    let data = Data::new();
    let folder = beside(&data);
    let (_key, config) = configured(&folder, "");
    let policy = folder.join("policy.json");
    let policy = policy.to_str().unwrap();
    let check = || text(&execgate().args(["policy", "check", policy, "--config", &config]).output().unwrap());
    assert!(!check().contains("no [[approver]]"), "{}", check());
    let rule = json!({"echo": {"require_approval": {"approvers": ["anna", "ana"]}}});
    fs::write(policy, json!({"version": "1", "default": "allow", "tools": rule}).to_string()).unwrap();
    assert!(check().contains("no [[approver]] of the configuration is called `ana`"), "{}", check());
}
