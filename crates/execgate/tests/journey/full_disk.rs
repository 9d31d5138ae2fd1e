//! A disk that fills up, and one that cannot be written: a small tmpfs in a mount namespace of the gateway's own.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _, read_to_string};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::server::{Data, Reply, exchange, post_bytes, reply};

/// The size of the disk.
const DISK: &str = "size=24m";

/// Requests within which a full disk must have refused one: what its WAL has already is written over first.
const REQUESTS_MAX: usize = 4_000;

/// How long to look for something that must happen: the space is looked at each second.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway whose data directory is a disk of its own.
struct Confined {
    child: Child,
    address: SocketAddr,
    /// The disk, seen from here.
    disk: PathBuf,
}

/// `execgate` with these arguments, after a command of the shell, in a mount namespace with the disk.
fn confined(place: &str, first: &str, args: &str) -> Command {
    #[expect(clippy::disallowed_methods, reason = "the disk is made by the system's own tools")]
    let mut command = Command::new("unshare");
    let binary = env!("CARGO_BIN_EXE_execgate");
    let script = format!("mount -t tmpfs -o {DISK},mode=755 tmpfs {place} && {first} exec {binary} {args}");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root");
    command
}

impl Confined {
    fn start(data: &Data, min_free_mib: u32) -> Self {
        let place = data.path();
        fs::create_dir_all(&place).unwrap();
        let config = place.with_extension("toml");
        let text = format!(
            "[surfaces]\ncode = \"off\"\n[log]\nlevel = \"error\"\n[record]\nmin_free_mib = {min_free_mib}\n"
        );
        fs::write(&config, text).unwrap();
        let place = place.to_str().unwrap();
        let args =
            format!("serve --listen 127.0.0.1:0 --data-dir {place}/data --config {}", config.display());
        let mut child =
            confined(place, "", &args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let address = line.trim().rsplit_once("http://").and_then(|(_, address)| address.parse().ok());
        let disk = PathBuf::from(format!("/proc/{}/root{place}", child.id()));
        Self { address: address.unwrap_or_else(|| panic!("no address in {line:?}")), child, disk }
    }

    fn post(&self, nonce: &str) -> Reply {
        let body = json!({"action": "echo", "payload": {"text": nonce.repeat(200)}, "nonce": nonce});
        reply(&exchange(self.address, &post_bytes("/execute", &body)))
    }

    fn get(&self, path: &str) -> Reply {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        reply(&exchange(self.address, request.as_bytes()))
    }

    /// Fills the disk, and leaves so many bytes.
    fn fill(&self, leave: usize) {
        let mut file = File::create(self.disk.join("fill")).unwrap();
        let block = [7; 1 << 14];
        while file.write_all(&block).is_ok() {}
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(u64::try_from(leave).unwrap())).unwrap();
    }

    fn empty(&self) {
        fs::remove_file(self.disk.join("fill")).unwrap();
    }

    fn fsck(&self) -> Value {
        let socket = self.disk.join("data/admin.sock");
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.write_all(b"GET /fsck HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let text = read_to_string(stream).unwrap();
        let end = text.lines().find(|line| line.starts_with("{\"end\"")).unwrap_or_else(|| panic!("{text}"));
        serde_json::from_str(end).unwrap()
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn rule(reply: &Reply) -> (u16, String) {
    (reply.status, reply.json()["rule"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_full_disk_refuses_cleanly_loses_nothing_and_works_again_once_there_is_space() {
    let data = Data::new();
    let server = Confined::start(&data, 0);
    let mut answered = vec![("a".to_owned(), server.post("a").body)];
    server.fill(0);
    let refused = (0..REQUESTS_MAX).find_map(|number| {
        let nonce = format!("n{number}");
        let reply = server.post(&nonce);
        if reply.status == 200 {
            answered.push((nonce, reply.body));
            return None;
        }
        Some((nonce, reply))
    });
    let (nonce, refused) = refused.expect("a full disk refuses");
    assert_eq!(rule(&refused), (503, "record-failed".to_owned()));
    for (nonce, body) in &answered {
        assert_eq!(&server.post(nonce).body, body, "{nonce}");
    }
    server.empty();
    assert_eq!(server.post(&nonce).status, 200, "nothing was claimed");
    let end = server.fsck();
    assert_eq!((&end["end"]["sound"], &end["end"]["open"]), (&json!(true), &json!(0)), "{end}");
}

#[test]
fn below_the_watermark_new_runs_are_refused_and_above_it_they_run_again() {
    let data = Data::new();
    let server = Confined::start(&data, 8);
    let first = server.post("a");
    assert_eq!((first.status, server.get("/ready").status), (200, 200));
    server.fill(4 << 20);
    let until = |status| {
        let start = Instant::now();
        while server.get("/ready").status != status {
            assert!(start.elapsed() < PATIENCE, "/ready never answers {status}");
        }
    };
    until(503);
    assert_eq!(server.get("/ready").json()["reason"], "disk");
    assert_eq!(rule(&server.post("b")), (503, "disk-low".to_owned()));
    assert_eq!(server.post("a").body, first.body);
    server.empty();
    until(200);
    assert_eq!(server.post("b").status, 200);
    assert_eq!(server.fsck()["end"]["sound"], true);
}

#[test]
fn a_disk_that_cannot_be_written_stops_the_start() {
    let data = Data::new();
    let place = data.path();
    fs::create_dir_all(&place).unwrap();
    let place = place.to_str().unwrap();
    let first = format!("mkdir -m 700 {place}/data && mount -o remount,ro {place} &&");
    let args = format!("serve --listen 127.0.0.1:0 --data-dir {place}/data");
    let ended = confined(place, &first, &args).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("Read-only file system"), "{said}");
}
