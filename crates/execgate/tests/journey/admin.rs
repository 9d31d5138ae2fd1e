//! The administration socket of a real gateway: whose it is, what a dead one leaves, and who is let in.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use serde_json::json;

use super::server::{Data, Reply, Server, reply};

/// A gateway without code, which starts at once.
pub(super) fn quick(data: &Data) -> Server {
    let path = data.path().with_extension("toml");
    fs::write(&path, "[surfaces]\ncode = \"off\"\n").unwrap();
    Server::start_with(&data.path(), &["--config", path.to_str().unwrap()], &[])
}

fn socket(data: &Data) -> PathBuf {
    data.path().join("admin.sock")
}

/// One exchange over a socket.
fn over(socket: &Path, head: &str) -> Reply {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream
        .write_all(format!("{head} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())
        .unwrap();
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
