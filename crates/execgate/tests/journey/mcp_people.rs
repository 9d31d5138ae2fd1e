//! Calls over the Model Context Protocol that wait for people, in each of the three forms: a task, a page to open, a result.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::mcp::{call, clients, outcomes, post, program, told};
use super::server::{Data, Server, execgate};

/// An unmodified client in Python whose user opens pages.
const OPENS: &str = include_str!("../mcp/opens.py");

/// What is asked for: each run of it ends with another value.
const CODE: &str = "import os; os.urandom(8).hex()";

const PASSPHRASE: &str = "a passphrase of many words";

/// A gateway where Anna has to say yes to every run of Python.
struct Asked {
    data: Data,
    key: PathBuf,
    server: Server,
}

impl Asked {
    fn open() -> Self {
        let data = Data::new();
        let folder = data.path();
        let beside = folder.parent().unwrap();
        let key = beside.join("anna.key");
        let section = approver(&["approver", "keygen", "--out", key.to_str().unwrap(), "--name", "anna"], "");
        let (policy, config) = (beside.join("policy.json"), beside.join("gate.toml"));
        let rule = json!({"python": {"require_approval": {"approvers": ["anna"], "ttl_s": 600}}});
        fs::write(&policy, json!({"version": "1", "default": "allow", "tools": rule}).to_string()).unwrap();
        fs::write(&config, format!("[policy]\nfile = \"{}\"\n{section}", policy.display())).unwrap();
        let server = Server::start_with(&folder, &["--config", config.to_str().unwrap()], &[]);
        Self { data, key, server }
    }

    fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    fn says(&self, id: &str, more: &[&str]) {
        let approve = ["approve", id, "--key", self.key.to_str().unwrap(), "--yes"];
        approver(&[&approve[..], more].concat(), &self.url());
    }

    /// What the call is told by whoever has tasks.
    fn begins(&self, code: &str) -> Value {
        let params = json!({"name": "execute_code", "arguments": {"code": code}, "_meta": has_tasks()});
        call(&self.server, "", &params)
    }

    fn task(&self, method: &str, id: &str) -> Value {
        post(&self.server, "", method, &json!({"taskId": id, "_meta": has_tasks()})).json()
    }

    /// What a task has come to.
    fn ended(&self, id: &str) -> Value {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let task = self.task("tasks/get", id)["result"].take();
            if task["status"] != "working" || Instant::now() > until {
                return task;
            }
        }
    }
}

/// What a client says that has tasks.
fn has_tasks() -> Value {
    let extensions = json!({"io.modelcontextprotocol/tasks": {}});
    json!({"io.modelcontextprotocol/clientCapabilities": {"extensions": extensions}})
}

/// What the approver's program has printed.
fn approver(args: &[&str], url: &str) -> String {
    let mut command = execgate();
    command.args(args).env("EXECGATE_PASSPHRASE", PASSPHRASE).env("EXECGATE_URL", url);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn whoever_has_tasks_is_given_one_that_ends_as_the_run_does() {
    let asked = Asked::open();
    let begun = asked.begins(CODE);
    assert_eq!((&begun["resultType"], &begun["status"]), (&json!("task"), &json!("working")), "{begun}");
    let id = begun["taskId"].as_str().unwrap();
    assert_eq!(asked.begins(CODE), begun, "the same call is the same task");
    let working = asked.task("tasks/get", id);
    assert_eq!(working["result"]["status"], "working", "{working}");
    assert_eq!(working["result"]["createdAt"], begun["createdAt"]);
    asked.says(id, &[]);
    let ended = asked.ended(id);
    assert_eq!(
        (&ended["status"], &ended["result"]["isError"]),
        (&json!("completed"), &json!(false)),
        "{ended}"
    );
    assert_eq!(ended["result"]["structuredContent"]["run"], id);
    assert_eq!(asked.ended(id), ended, "it is told again as often as it is asked");
    // Its end was told: the same call is a new one.
    assert_ne!(asked.begins(CODE)["taskId"], json!(id));
    assert_eq!(outcomes(&asked.data.path()).iter().filter(|outcome| *outcome == "value").count(), 1);
}

#[test]
fn a_task_is_denied_or_taken_back_and_nothing_runs() {
    let asked = Asked::open();
    let denied = asked.begins("1")["taskId"].take();
    asked.says(denied.as_str().unwrap(), &["--deny", "--reason", "not today"]);
    let ended = asked.ended(denied.as_str().unwrap());
    assert_eq!(
        (&ended["status"], &ended["result"]["isError"]),
        (&json!("completed"), &json!(true)),
        "{ended}"
    );
    assert_eq!(ended["result"]["structuredContent"]["code"], "approval-denied");
    let withdrawn = asked.begins("2")["taskId"].take();
    let withdrawn = withdrawn.as_str().unwrap();
    let update = json!({"taskId": withdrawn, "inputResponses": {}, "_meta": has_tasks()});
    let updated = post(&asked.server, "", "tasks/update", &update).json();
    assert_eq!(updated["result"]["resultType"], "complete", "{updated}");
    assert_eq!(asked.task("tasks/cancel", withdrawn)["result"]["resultType"], "complete");
    assert_eq!(asked.ended(withdrawn)["status"], "cancelled");
    // What has ended is not ended again.
    assert_eq!(asked.task("tasks/cancel", withdrawn)["result"]["resultType"], "complete");
    assert_eq!(outcomes(&asked.data.path()), ["refused", "denied"]);
    // A foreign task is none, and whoever has not said that it has tasks has none.
    let foreign = asked.task("tasks/get", "00000000-0000-8000-8000-000000000000");
    assert_eq!(foreign["error"]["code"], -32602, "{foreign}");
    let bare = post(&asked.server, "", "tasks/get", &json!({"taskId": withdrawn})).json();
    assert_eq!(bare["error"]["code"], -32021, "{bare}");
}

#[test]
fn a_task_outlives_the_process_that_began_it() {
    let Asked { data, key, server } = Asked::open();
    let params = json!({"name": "execute_code", "arguments": {"code": CODE}, "_meta": has_tasks()});
    let begun = call(&server, "", &params);
    server.kill();
    let config = data.path().parent().unwrap().join("gate.toml");
    let server = Server::start_with(&data.path(), &["--config", config.to_str().unwrap()], &[]);
    let asked = Asked { data, key, server };
    let id = begun["taskId"].as_str().unwrap();
    assert_eq!(asked.task("tasks/get", id)["result"]["status"], "working");
    asked.says(id, &[]);
    assert_eq!(asked.ended(id)["status"], "completed");
}

#[test]
fn whoever_opens_pages_is_led_to_one_and_the_call_ends_when_it_is_approved() {
    let asked = Asked::open();
    let mut python = program(&clients().join("venv/bin/python"));
    python.args(["-c", OPENS, &format!("{}/mcp", asked.url()), env!("CARGO_BIN_EXE_execgate")]);
    python.arg(&asked.key).env("EXECGATE_PASSPHRASE", PASSPHRASE).env("EXECGATE_URL", asked.url());
    let answers = told(python);
    let approved = &answers["approved"];
    let id = approved["answer"]["run"].as_str().unwrap();
    assert_eq!(approved["asked"], json!([format!("{}/approvals/{id}", asked.url())]), "{answers}");
    assert_eq!(approved["answer"]["error"], Value::Null);
    // Whoever does not open it is told what waits, and is not asked again.
    let declined = &answers["declined"];
    assert_eq!(declined["answer"]["status"], "approval_required", "{answers}");
    assert_eq!(declined["asked"].as_array().unwrap().len(), 1);
    assert_eq!(outcomes(&asked.data.path()), ["none", "value"]);
}

#[test]
fn a_call_that_waits_for_a_person_is_found_again_by_the_same_call_and_runs_once() {
    let gate = Asked::open();
    let (server, url) = (&gate.server, gate.url());
    let asked = json!({"name": "execute_code", "arguments": {"code": "import os; os.urandom(8).hex()"}});

    let parked = call(server, "", &asked);
    let facts = &parked["structuredContent"];
    assert_eq!(
        (&parked["isError"], &facts["status"]),
        (&json!(true), &json!("approval_required")),
        "{parked}"
    );
    let id = facts["approval_id"].as_str().unwrap();
    assert_eq!(facts["approve_url"], format!("{url}/approvals/{id}"));
    assert!(parked["content"][0]["text"].as_str().unwrap().contains(id));
    assert_eq!(call(server, "", &asked), parked, "the same call finds the same run");
    let other = json!({"name": "execute_code", "arguments": {"code": "2"}});
    assert_ne!(call(server, "", &other)["structuredContent"]["approval_id"], json!(id));

    gate.says(id, &[]);
    let answer = call(server, "", &asked);
    assert_eq!(
        (&answer["isError"], &answer["structuredContent"]["run"]),
        (&json!(false), &json!(id)),
        "{answer}"
    );
    // Its end was told: the same call is a new one, and waits for people anew.
    let anew = call(server, "", &asked);
    assert_eq!(anew["structuredContent"]["status"], "approval_required");
    assert_ne!(anew["structuredContent"]["approval_id"], json!(id));
    // Under a key of its caller's own it is the same for ever.
    let named = json!({"name": "execute_code", "arguments": {"code": "3"}, "_meta": {"dev.execgate/idempotency-key": "k"}});
    let parked = call(server, "", &named);
    let id = parked["structuredContent"]["approval_id"].as_str().unwrap();
    gate.says(id, &["--deny", "--reason", "not today"]);
    for _ in 0..2 {
        let denied = call(server, "", &named);
        assert_eq!(denied["structuredContent"]["code"], "approval-denied", "{denied}");
        assert!(denied["content"][0]["text"].as_str().unwrap().contains("not today"));
    }
}
