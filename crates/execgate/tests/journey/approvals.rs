//! Approvals on the real binary: artifacts that Python mints as OpenExec's clients do, and statements of approvers that it signs,
//! with keys that the gateway only knows the public half of.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::{Value, json};

use super::crash::until_claimed;
use super::server::{Data, Server, post_bytes};

/// Signs what stands on standard input: `{seconds, requests: [{action, payload}]}` gives an artifact for each, and
/// `{statements: [{action, payload, dryRun}]}` an envelope for each. `cryptography` and `json` are all that it has.
const MINT: &str = r#"
import base64, datetime, hashlib, json, sys, uuid
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
asked = json.load(sys.stdin)
key = Ed25519PrivateKey.from_private_bytes(bytes([5] * 32))
public = key.public_key()
told = {"pem": public.public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo).decode(), "artifacts": [], "envelopes": []}
raw = public.public_bytes(s.Encoding.Raw, s.PublicFormat.Raw)
now = datetime.datetime.utcnow()
sha = lambda value, **how: hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":"), **how).encode()).hexdigest()
for request in asked.get("requests", []):
    artifact = {
        "approval_id": str(uuid.uuid4()), "tenant_id": "tenant-001",
        "action_hash": sha({"action": request["action"], "payload": request.get("payload") or {}}),
        "issued_at": now.isoformat(),
        "expires_at": (now + datetime.timedelta(seconds=asked.get("seconds", 300))).isoformat(),
    }
    text = "".join(artifact[name] for name in ("approval_id", "tenant_id", "action_hash", "issued_at", "expires_at"))
    artifact["signature"] = base64.b64encode(key.sign(text.encode())).decode()
    told["artifacts"].append(artifact)
utc = lambda at: at.isoformat(timespec="milliseconds") + "Z"
for request in asked.get("statements", []):
    about = {"action": request["action"], "payload": request["payload"], "dryRun": request["dryRun"], "options": {}}
    payload = json.dumps({
        "type": "approval/v1", "approval_id": str(uuid.uuid4()), "decision": "approve", "tenant": "default", "scope": None,
        "action": request["action"], "action_digest": "sha256:" + sha(about, ensure_ascii=False), "policy_digest": None,
        "max_price": None, "reason": None, "issued_at": utc(now), "expires_at": utc(now + datetime.timedelta(seconds=300)),
        "approver": "alice",
    }, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    kind = "application/vnd.execgate.approval+json"
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    told["envelopes"].append({
        "payloadType": kind, "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": hashlib.sha256(raw).hexdigest()[:16], "sig": base64.b64encode(key.sign(signed)).decode()}],
    })
json.dump(told, sys.stdout)
"#;

/// Has Python sign.
fn mint(asked: &Value) -> Value {
    #[expect(clippy::disallowed_methods, reason = "a cross check needs the other tool")]
    let mut python = Command::new("/usr/bin/python3")
        .args(["-I", "-c", MINT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    serde_json::from_slice(&python.wait_with_output().unwrap().stdout).unwrap()
}

/// An artifact for one request.
fn artifact(action: &str, payload: &Value) -> Value {
    mint(&json!({"requests": [{"action": action, "payload": payload}]}))["artifacts"][0].take()
}

fn envelope(action: &str, payload: &Value, dry_run: bool) -> Value {
    let asked = json!({"action": action, "payload": payload, "dryRun": dry_run});
    mint(&json!({"statements": [asked]}))["envelopes"][0].take()
}

fn strict(data: &Path) -> Server {
    // As a variable has it: in one line.
    let pem = mint(&json!({}))["pem"].as_str().unwrap().replace('\n', "\\n");
    let environment = [
        ("OPENEXEC_MODE", "clawshield"),
        ("CLAWSHIELD_PUBLIC_KEY", pem.as_str()),
        ("CLAWSHIELD_TENANT_ID", "tenant-001"),
    ];
    Server::start_with(data, &[], &environment)
}

fn call(action: &str, payload: &Value, nonce: &str, artifact: &Value) -> Value {
    json!({"action": action, "payload": payload, "nonce": nonce, "approval_artifact": artifact})
}

#[test]
fn openexecs_strict_mode_takes_what_python_mints_and_nothing_else() {
    let data = Data::new();
    let server = strict(&data.path());
    let health = server.get("/health").json();
    assert_eq!(
        (&health["exec_mode"], &health["signature_verification"]),
        (&json!("clawshield"), &json!("enabled"))
    );

    // What other canonical forms write otherwise: a float without fraction, letters beyond ASCII, keys beyond a plane.
    let payloads = [
        json!({"msg": "constitutional"}),
        json!({"a": 1.0, "b": 1e300, "c": -0.5, "d": 9_007_199_254_740_991_i64}),
        json!({"\u{1f600}": "é\u{7f}\n", "\u{ff5e}": [null, true, {}]}),
        json!(null),
    ];
    for (at, payload) in payloads.iter().enumerate() {
        let asked = call("echo", payload, &format!("e{at}"), &artifact("echo", payload));
        let ran = server.post("/execute", &asked);
        assert_eq!((ran.status, &ran.json()["approved"]), (200, &json!(true)), "{payload}");
    }
    let hello = json!({"msg": "hello"});
    let good = artifact("echo", &hello);
    let mut forged = good.clone();
    forged["issued_at"] = json!("2026-01-01T00:00:00");
    let expired =
        mint(&json!({"seconds": -600, "requests": [{"action": "echo", "payload": hello}]}))["artifacts"][0]
            .take();
    for (artifact, detail) in [
        (Value::Null, "requires an approval artifact"),
        (artifact("echo", &json!({"msg": "original"})), "hash mismatch"),
        (expired, "expired"),
        (forged, "Invalid signature"),
    ] {
        let refused = server.post("/execute", &call("echo", &hello, "n", &artifact));
        let text = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(refused.status == 403 && text.contains(detail), "{text}");
    }
    let first = server.post("/execute", &call("echo", &hello, "n", &good));
    let again = server.execute("echo", hello.clone(), "n");
    assert_eq!((first.status, again.status, &again.body), (200, 200, &first.body));
    assert_eq!(
        server.post("/execute", &call("echo", &hello, "m", &good)).json()["code"],
        json!("approval-reused")
    );

    let code = json!({"code": "print('hé')"});
    let ran = server.post("/execute", &call("python", &code, "p", &artifact("python", &code)));
    assert_eq!((ran.status, &ran.json()["result"]["stdout"]), (200, &json!("hé\n")));
    // Simulated, too.
    let tool = json!({"tool": {"name": "math_compute", "args": {"expression": "6*7"}}});
    assert_eq!(server.post("/exec/simulate", &tool).status, 403);
    let mut approved = tool;
    approved["approval_artifact"] = artifact("math_compute", &json!({"expression": "6*7"}));
    assert_eq!(server.post("/exec/simulate", &approved).json()["result"]["output"]["value"], json!(42));
}

#[test]
fn another_tenant_s_artifact_and_a_gateway_without_a_key_refuse_everything() {
    let (hello, data) = (json!({"msg": "hello"}), Data::new());
    let good = artifact("echo", &hello);
    let keyless = Server::start_with(&data.path(), &[], &[("OPENEXEC_MODE", "clawshield")]);
    let refused = keyless.post("/execute", &call("echo", &hello, "n", &good));
    assert_eq!(
        (refused.status, &refused.json()["detail"]),
        (403, &json!("CLAWSHIELD_PUBLIC_KEY not configured"))
    );
    drop(keyless);
    let pem = mint(&json!({}))["pem"].as_str().unwrap().to_owned();
    let environment = [
        ("OPENEXEC_MODE", "clawshield"),
        ("CLAWSHIELD_PUBLIC_KEY", &*pem),
        ("CLAWSHIELD_TENANT_ID", "wrong-tenant"),
    ];
    let elsewhere = Server::start_with(&data.path(), &[], &environment);
    let refused = elsewhere.post("/execute", &call("echo", &hello, "n", &good));
    let text = "Tenant mismatch: expected wrong-tenant, got tenant-001";
    assert_eq!((refused.status, &refused.json()["detail"]), (403, &json!(text)));
}

#[test]
fn one_artifact_among_many_clients_is_one_run() {
    let data = Data::new();
    let server = strict(&data.path());
    let payload = json!({"code": "echo ran; cat /proc/sys/kernel/random/uuid"});
    let good = artifact("bash", &payload);
    let clients: Vec<_> = (0..64)
        .map(|at| {
            server.background(post_bytes("/execute", &call("bash", &payload, &format!("n{at}"), &good)))
        })
        .collect();
    let replies: Vec<_> =
        clients.into_iter().map(|client| thread::JoinHandle::join(client).unwrap()).collect();
    let ran = replies.iter().filter(|reply| reply.status == 200).count();
    // Where the slots were all taken, nothing was claimed.
    let refused = replies.iter().filter(|reply| [403, 503].contains(&reply.status)).count();
    assert_eq!((ran, refused), (1, 63));
}

#[test]
fn after_kill_9_an_artifact_is_used_up_and_its_run_not_repeated() {
    let data = Data::new();
    let server = strict(&data.path());
    let payload = json!({"code": "sleep 20"});
    let good = artifact("bash", &payload);
    let cut_off = server.background(post_bytes("/execute", &call("bash", &payload, "n", &good)));
    until_claimed(&data.path());
    server.kill();
    drop(cut_off.join());
    let server = strict(&data.path());
    let other = server.post("/execute", &call("bash", &payload, "m", &good)).json();
    assert_eq!(other["code"], json!("approval-reused"));
    let own = server.post("/execute", &call("bash", &payload, "n", &good));
    assert_eq!((own.status, &own.json()["code"]), (409, &json!("run-outcome-unknown")));
}

#[test]
fn an_approver_unlocks_what_is_blocked_and_satisfies_a_rule() {
    let (data, folder) = (Data::new(), tempfile::tempdir().unwrap());
    let (config, policy) = (folder.path().join("execgate.toml"), folder.path().join("policy.json"));
    let rule = json!({"version": "1", "default": "allow", "tools": {"add": {"require_approval": {"approvers": ["alice"]}}}});
    fs::write(&policy, rule.to_string()).unwrap();
    let pem = mint(&json!({}))["pem"].as_str().unwrap().replace('\n', "\\n");
    let text = format!(
        "[policy]\nfile = \"{}\"\n[[approver]]\nname = \"alice\"\nkeys = [\"{pem}\"]\n",
        policy.display()
    );
    fs::write(&config, text).unwrap();
    let server = Server::start_with(&data.path(), &["--config", config.to_str().unwrap()], &[]);
    let health = server.get("/health").json();
    assert_eq!(
        (&health["exec_mode"], &health["signature_verification"]),
        (&json!("demo"), &json!("disabled"))
    );

    let sum = json!({"a": 1, "b": 2});
    let refused = server.execute("add", sum.clone(), "n").json();
    assert_eq!(
        (&refused["status"], &refused["rule"]),
        (&json!("parked"), &json!("/tools/add/require_approval"))
    );
    let ran = server.post("/execute", &call("add", &sum, "n", &envelope("add", &sum, false)));
    assert_eq!((ran.status, &ran.json()["result"]), (200, &json!({"sum": 3})));

    for (name, args, stdout) in [
        ("bash", json!({"command": "echo $((6*7)); id -un || true"}), "42\n"),
        ("shell_exec", json!({"command": "echo $((6*7))"}), "42\n"),
        ("python_exec", json!({"code": "print(6*7)"}), "42\n"),
    ] {
        let tool = |dry_run: bool, artifact: &Value| json!({"tool": {"name": name, "args": args}, "dryRun": dry_run, "approval_artifact": artifact});
        let locked = server.post("/exec/tool", &tool(false, &Value::Null)).json();
        assert_eq!(locked["error"]["rule"], json!("blocked-tool"), "{locked}");
        // What was approved for real is not what is simulated.
        let live = envelope(name, &args, false);
        let other = server.post("/exec/tool", &tool(true, &live)).json();
        assert_eq!(other["error"]["rule"], json!("approval-other-request"), "{other}");
        let ran = server.post("/exec/tool", &tool(false, &live)).json();
        assert_eq!(ran["status"], json!("completed"), "{ran}");
        assert!(ran["result"]["output"]["stdout"].as_str().unwrap().starts_with(stdout), "{ran}");
        let simulated = server.post("/exec/tool", &tool(true, &envelope(name, &args, true))).json();
        assert_eq!(
            (&simulated["status"], &simulated["result"]["simulated"]),
            (&json!("completed"), &json!(true))
        );
    }
    let deploy =
        json!({"tool": {"name": "deploy"}, "approval_artifact": envelope("deploy", &json!({}), true)});
    let never = server.post("/exec/tool", &deploy).json();
    assert!(never["error"]["detail"].as_str().unwrap().contains("has no handler"), "{never}");
}

#[test]
fn an_approved_file_is_written_into_the_workspace_and_is_its_owners() {
    let (data, folder) = (Data::new(), tempfile::tempdir().unwrap());
    let config = folder.path().join("execgate.toml");
    let pem = mint(&json!({}))["pem"].as_str().unwrap().replace('\n', "\\n");
    fs::write(&config, format!("[[approver]]\nname = \"alice\"\nkeys = [\"{pem}\"]\n")).unwrap();
    let server = Server::start_with(&data.path(), &["--config", config.to_str().unwrap()], &[]);
    let args = json!({"path": "notes/today.txt", "content": "six times seven"});
    let write = |args: &Value, artifact: &Value| {
        let tool = json!({"name": "file_write", "args": args});
        server.post("/exec/tool", &json!({"tool": tool, "dryRun": false, "approval_artifact": artifact}))
    };
    assert_eq!(write(&args, &Value::Null).json()["error"]["rule"], json!("blocked-tool"));
    assert_eq!(server.get("/workspace").json()["files"], json!([]));
    let written = write(&args, &envelope("file_write", &args, false)).json();
    assert_eq!(written["status"], json!("completed"), "{written}");
    let output = &written["result"]["output"];
    assert_eq!((&output["bytes"], &output["replaced"]), (&json!(15), &json!(false)));
    let receipt = server.get(&format!("/receipts/{}", written["jobId"].as_str().unwrap())).json();
    assert_eq!(receipt["exec_id"], written["jobId"]);

    let read = server.get("/workspace/notes/today.txt");
    assert_eq!((read.status, String::from_utf8_lossy(&read.body).as_ref()), (200, "six times seven"));
    let listed = server.get("/workspace").json();
    assert_eq!(listed["files"][0]["path"], json!("notes/today.txt"));
    assert_eq!((&listed["bytes"], &listed["quota_bytes"]), (&json!(15), &json!(64 << 20)));
    for (path, status) in
        [("other.txt", 404), ("notes", 404), ("../execgate.db", 400), ("%2e%2e/execgate.db", 400)]
    {
        assert_eq!(server.get(&format!("/workspace/{path}")).status, status, "{path}");
    }
    // Out of it nothing is written, whoever has approved it.
    let out = json!({"path": "../keys/receipt.key", "content": "x"});
    assert_eq!(write(&out, &envelope("file_write", &out, false)).status, 400);
}
