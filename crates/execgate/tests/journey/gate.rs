//! The gate of a real process: replays, changed replays, draining, the kill switch, doors.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use execgate_sandbox::image::{Base, Image, PackageRecipe, Recipe};
use rustix::process::Signal;
use serde_json::json;

use super::crash::until_claimed;
use super::server::{Data, Reply, Server, post_bytes, run, signal};

#[test]
fn a_replay_answers_the_same_bytes_and_a_changed_one_is_refused() {
    let data = Data::new();
    let server = Server::start(&data.path());
    let code = json!({"code": "import os; os.urandom(8).hex()"});
    let first = server.execute("python", code.clone(), "n-1");
    let again = server.execute("python", code, "n-1");
    assert_eq!(first.body, again.body);
    assert!(again.head.contains("execgate-replayed: true") && !first.head.contains("execgate-replayed"));
    let changed = server.execute("python", json!({"code": "1"}), "n-1");
    assert_eq!((changed.status, changed.json()["code"].as_str()), (409, Some("nonce-reused")));
}

#[test]
fn two_hundred_requests_of_one_nonce_run_once() {
    let data = Data::new();
    let server = Server::start(&data.path());
    let payload = json!({"code": "import os, time; time.sleep(0.3); os.urandom(8).hex()"});
    let bodies: Vec<_> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..200)
            .map(|_| {
                let (server, payload) = (&server, payload.clone());
                scope.spawn(move || server.execute("python", payload, "one").body)
            })
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{:?}", String::from_utf8_lossy(&bodies[0]));
    let listed = run(&["runs", "list", "--json", "--data-dir", data.path().to_str().unwrap()], "");
    let runs: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(runs.as_array().unwrap().len(), 1);
}

/// A gateway that is running something, and the answer that will come.
fn amid_a_run(data: &Data) -> (Server, JoinHandle<Reply>) {
    let server = Server::start(&data.path());
    let payload = json!({"code": "import time; time.sleep(4); 'finished'"});
    let bytes = post_bytes("/execute", &json!({"action": "python", "payload": payload, "nonce": "n"}));
    let running = server.background(bytes);
    until_claimed(&data.path());
    (server, running)
}

#[test]
fn sigterm_lets_a_running_run_finish_and_ends_in_order() {
    let data = Data::new();
    let (server, running) = amid_a_run(&data);
    server.terminate();
    assert_eq!(running.join().unwrap().json()["result"]["result"], "'finished'");
    assert_eq!(server.ended(), Some(0));
}

#[test]
fn pause_stops_new_runs_and_resume_lets_them_through() {
    let data = Data::new();
    let server = Server::start(&data.path());
    let folder = data.path();
    let folder = folder.to_str().unwrap();
    assert_eq!(server.execute("echo", json!({}), "before").status, 200);
    assert!(run(&["pause", "--data-dir", folder], "").status.success());
    let refused = server.execute("echo", json!({}), "during");
    assert_eq!((refused.status, refused.json()["rule"].as_str()), (503, Some("paused")));
    assert_eq!(server.execute("echo", json!({}), "before").status, 200, "a replay is no run");
    assert_eq!(server.get("/ready").json(), json!({"ready": false, "reason": "paused"}));
    assert!(run(&["resume", "--data-dir", folder], "").status.success());
    assert_eq!(server.execute("echo", json!({}), "during").status, 200);
}

#[test]
fn what_ends_the_whole_process_group_lets_a_running_run_finish() {
    let data = Data::new();
    let (server, running) = amid_a_run(&data);
    for child in server.children().into_iter().chain(server.helpers()) {
        signal(child, Signal::INT);
        signal(child, Signal::TERM);
    }
    server.terminate();
    assert_eq!(running.join().unwrap().json()["result"]["result"], "'finished'");
    assert_eq!(server.ended(), Some(0));
}

#[test]
fn a_gateway_without_its_sandbox_says_that_it_is_not_ready() {
    let data = Data::new();
    let server = Server::start(&data.path());
    assert_eq!(server.get("/ready").json(), json!({"ready": true}));
    // Those that would start the next helper.
    for parent in server.children() {
        signal(parent, Signal::KILL);
    }
    let start = Instant::now();
    while server.get("/ready").status == 200 {
        assert!(start.elapsed() < Duration::from_secs(20), "the loss was not noticed");
    }
    assert_eq!(server.get("/ready").json(), json!({"ready": false, "reason": "sandbox"}));
    let refused = server.execute("python", json!({"code": "1"}), "n");
    assert_eq!(refused.status, 503, "{}", refused.json());
    assert_eq!(server.execute("echo", json!({}), "m").status, 200);
}

#[test]
fn a_gateway_whose_image_was_altered_runs_nothing_of_it_and_says_so() {
    let wanted = ["base-files", "bash", "coreutils", "libc-bin"].map(str::to_owned).to_vec();
    let base = Base::Packages(PackageRecipe { wanted, ..PackageRecipe::default() });
    let cache = tempfile::tempdir().unwrap();
    fs::set_permissions(cache.path(), Permissions::from_mode(0o755)).unwrap();
    let image = Image::ensure(cache.path(), &Recipe::of(base), &mut |_| {}).unwrap();
    let data = Data::new();
    let (folder, config) = (cache.path().to_str().unwrap(), cache.path().join("config.toml"));
    let text = format!("[sandbox]\nimage = \"{}\"\nimage_cache = \"{folder}\"\n", image.digest);
    fs::write(&config, text).unwrap();
    let server = Server::start_with(&data.path(), &["--config", config.to_str().unwrap()], &[]);
    assert_eq!(server.execute("bash", json!({"code": "echo 1"}), "n").status, 200);
    // Before it is read for the first time, which is soon after something has run.
    let program = image.root.join("usr/bin/sha512sum");
    let modified = fs::metadata(&program).unwrap().modified().unwrap();
    let file = File::options().write(true).open(&program).unwrap();
    file.write_all_at(b"altered", 4096).unwrap();
    file.set_modified(modified).unwrap();
    let start = Instant::now();
    while server.get("/ready").status == 200 {
        assert!(start.elapsed() < Duration::from_secs(60), "it was not noticed");
    }
    assert_eq!(server.get("/ready").json(), json!({"ready": false, "reason": "image"}));
    let refused = server.execute("bash", json!({"code": "echo 2"}), "m");
    assert_eq!((refused.status, refused.json()["code"].as_str()), (503, Some("no-slot")));
    assert_eq!(server.execute("echo", json!({}), "o").status, 200);
    let shown = run(&["image", "show", &image.digest, "--verify", "--image-cache", folder], "");
    assert_eq!(shown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&shown.stdout).contains("Content: usr/bin/sha512sum"));
}

#[test]
fn rubbish_gets_a_clear_answer_and_the_next_request_is_fine() {
    let data = Data::new();
    let server = Server::start(&data.path());
    let head = "POST /execute HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    let cases = [
        ("\x16\x03\x01 rubbish\r\n\r\n".to_owned(), "400"),
        (format!("{head}Content-Length: 2\r\n\r\n{{}}"), "415"),
        (format!("{head}Content-Type: application/json\r\nContent-Length: 5\r\n\r\n{{\"a\""), "400"),
        (format!("{head}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"), "400"),
        (format!("{head}Content-Type: application/json\r\nContent-Length: 30000000\r\n\r\n"), "413"),
        ("GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".to_owned(), "421"),
        ("DELETE /execute HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(), "405"),
    ];
    for (request, status) in cases {
        let mut request = request.into_bytes();
        if status == "400" && request.ends_with(b"\"a\"") {
            request.push(b' ');
        }
        let answer = server.raw(&request);
        let line = String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned();
        assert!(line.ends_with(status), "{line} for {:?}", String::from_utf8_lossy(&request));
    }
    assert_eq!(server.get("/health").status, 200);
}
