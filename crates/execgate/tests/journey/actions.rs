//! Actions of the operator's own on the real binary: a service on the loopback, programs in the jail, and a secret that
//! is in no answer, no file and no line of the log.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::json;

use super::server::{Data, Server, run};

/// What nobody but the service may see, from a file and from a variable.
const CANARY: &str = "canary-8b21-of-the-file";
const OTHER: &str = "canary-9c32-of-the-variable";

/// A service that echoes what it is asked, for as many requests as it can be sent, and tells each.
fn service() -> (u16, Receiver<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, tell) = channel();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut asked = Vec::new();
            let mut part = [0; 4096];
            while !asked.ends_with(b"}") {
                let read = stream.read(&mut part).unwrap();
                asked.extend_from_slice(&part[..read]);
            }
            let asked = String::from_utf8(asked).unwrap();
            let (length, kind) = (asked.len(), "text/plain");
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nX-Echo: {OTHER}\r\n");
            stream.write_all(format!("{head}Content-Length: {length}\r\n\r\n{asked}").as_bytes()).unwrap();
            if told.send(asked).is_err() {
                return;
            }
        }
    });
    (port, tell)
}

fn config(folder: &Path, port: u16) -> String {
    let secret = folder.join("secret");
    fs::write(&secret, format!("{CANARY}\n")).unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let command = |name: &str, argv: &str| {
        format!(
            "[[action]]\nname = \"{name}\"\ndescription = \"A program.\"\nkind = \"command\"\neffect = \"read\"\n\
             argv = {argv}\nschema = {{ type = \"object\", additionalProperties = true }}\ntool = true\n"
        )
    };
    let config = folder.join("config.toml");
    let text = format!(
        "[log]\nlevel = \"trace\"\n[secrets.FILE]\nfile = \"{}\"\n[secrets.VARIABLE]\nenv = \"EXECGATE_TEST_SECRET\"\n\
         [[action]]\nname = \"notify\"\ndescription = \"Notifies.\"\nkind = \"http\"\neffect = \"write\"\nmethod = \"POST\"\n\
         url = \"http://127.0.0.1:{port}/to/{{whom}}\"\nallow_private = true\nbody = \"payload\"\n\
         headers = {{ authorization = {{ secret = \"FILE\", prefix = \"Bearer \" }}, x-key = {{ secret = \"VARIABLE\" }} }}\n\
         schema = {{ type = \"object\", required = [\"whom\"], additionalProperties = false, properties = {{ whom = {{ type = \"string\" }} }} }}\n\
         {}{}{}{}",
        secret.display(),
        command("echoed", "[\"/usr/bin/cat\"]"),
        command("counted", "[\"/usr/bin/wc\", \"-c\"]"),
        command("surroundings", "[\"/usr/bin/env\"]"),
        command("failing", "[\"/usr/bin/python3\", \"-c\", \"import sys; print('half'); sys.exit(7)\"]"),
    );
    fs::write(&config, text).unwrap();
    config.to_str().unwrap().to_owned()
}

/// Every file below a folder that holds one of the secrets.
fn telling(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(telling(&path));
        } else if fs::read(&path).unwrap().windows(7).any(|window| window == b"canary-") {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn own_actions_run_once_and_their_secrets_are_nowhere() {
    let (data, folder) = (Data::new(), tempfile::tempdir().unwrap());
    let (port, tell) = service();
    let config = config(folder.path(), port);
    let log = data.path().parent().unwrap().join("log");
    fs::write(&log, "").unwrap();
    fs::set_permissions(&log, Permissions::from_mode(0o666)).unwrap();
    let environment = [("EXECGATE_TEST_SECRET", OTHER), ("LOG_FILE", log.to_str().unwrap())];
    let server = Server::start_with(&data.path(), &["--config", &config], &environment);

    let first = server.execute("notify", json!({"whom": "ada"}), "n");
    assert_eq!(first.status, 200, "{}", first.json());
    let told = first.json()["result"].clone();
    let body = told["body"].as_str().unwrap();
    assert!(body.starts_with("POST /to/ada HTTP/1.1\r\n"), "{body}");
    for line in ["authorization: Bearer [secret FILE]\r\n", "x-key: [secret VARIABLE]\r\n"] {
        assert!(body.contains(line), "{body}");
    }
    assert_eq!(told["headers"]["x-echo"], "[secret VARIABLE]");
    assert_eq!(server.execute("notify", json!({"whom": "ada"}), "n").body, first.body);
    let asked = tell.recv().unwrap();
    assert!(asked.contains(CANARY) && asked.contains(OTHER) && tell.try_recv().is_err());
    assert_eq!(server.execute("notify", json!({"whom": "../admin"}), "m").status, 400);

    let result = |action: &str| {
        let reply = server.execute(action, json!({"a": [1, "é"]}), action);
        (reply.json()["result"].clone(), reply)
    };
    let (echoed, _) = result("echoed");
    assert_eq!((&echoed["output"], &echoed["output_format"]), (&json!({"a": [1, "é"]}), &json!("json")));
    let (counted, _) = result("counted");
    assert_eq!(counted["output"], json!(json!({"a": [1, "é"]}).to_string().len()));
    let (surroundings, reply) = result("surroundings");
    let variables = surroundings["output"].as_str().unwrap();
    let mut names: Vec<_> = variables.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "LANG", "PATH", "TMPDIR"], "{variables}");
    let (failing, _) = result("failing");
    assert_eq!(failing["output"], "half\n");
    assert_eq!(failing["error"], json!({"name": "ExitCode", "message": "7"}));
    let call = json!({"tool": {"name": "failing", "args": {}}, "dryRun": false});
    let exited = server.post("/exec/tool", &call).json();
    assert_eq!((&exited["status"], &exited["result"]["exitCode"]), (&json!("failed"), &json!(7)));
    let call = json!({"tool": {"name": "failing", "args": {}}});
    let simulated = server.post("/exec/tool", &call).json();
    assert_eq!(simulated["result"]["output"]["command"]["argv"][0], "/usr/bin/python3");

    // A program of the operator's is no language that a caller could name.
    let asked = server.post("/api/code-run", &json!({"code": "", "language": "action:echoed"}));
    assert_eq!(asked.status, 400);
    let listed = server.get("/api/languages").json().to_string();
    assert!(!listed.contains("action:"), "{listed}");

    let run_id = reply.json()["id"].as_str().unwrap().to_owned();
    for path in ["/openapi.json", "/llms.txt", "/exec/tools", &format!("/receipts/{run_id}")] {
        assert!(!String::from_utf8_lossy(&server.get(path).body).contains("canary-"), "{path}");
    }
    server.terminate();
    assert_eq!(server.ended(), Some(0));
    assert!(fs::metadata(&log).unwrap().len() > 0);
    assert_eq!(telling(data.path().parent().unwrap()), Vec::<String>::new());
}

#[test]
fn an_action_that_cannot_be_kept_stops_the_start_and_says_why() {
    let (data, folder) = (Data::new(), tempfile::tempdir().unwrap());
    let config = folder.path().join("config.toml");
    let place = data.path();
    for (text, why) in [
        ("argv = [\"/usr/bin/no-such-program\"]\n", "no program"),
        ("argv = [\"/usr/bin/env\"]\nenv = { T = { secret = \"K\" } }\n", "no secret ever reaches"),
        ("argv = [\"/usr/bin/env\"]\nprofile = \"nowhere\"\n", "no profile `nowhere`"),
        ("argv = [\"/usr/bin/env\"]\nprice = 1\n", "[payment.prices]"),
    ] {
        let head = "[[action]]\nname = \"own\"\ndescription = \"d\"\nkind = \"command\"\neffect = \"read\"\n";
        fs::write(&config, format!("{head}{text}")).unwrap();
        let args = ["serve", "--listen", "127.0.0.1:0", "--data-dir", place.to_str().unwrap(), "--config"];
        let args: Vec<_> = args.into_iter().chain([config.to_str().unwrap()]).collect();
        let refused = run(&args, "");
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(2) && told.contains(why), "{told}");
    }
}
