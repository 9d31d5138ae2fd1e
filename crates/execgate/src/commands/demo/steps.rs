//! The steps of the demo. Each says what must hold, and whether it did.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use execgate_receipt::{ReceiptFile, VerifyingKey, verify};
use serde_json::{Value, json};

use super::client::{Client, Reply};
use crate::terminal;

/// Code that tries to leave its jail in plain ways, and says what it could do.
const CURIOUS: &str = r"
import os, socket
found = []
for path in ('/etc/shadow', '/root', '/proc/1/environ', '/sys/kernel'):
    try:
        os.listdir(path) if os.path.isdir(path) else open(path, 'rb').read(1)
        found.append(path)
    except OSError:
        pass
try:
    socket.socket(socket.AF_INET)
    found.append('network')
except OSError:
    pass
ours = 'PATH HOME LANG TMPDIR LC_CTYPE OPENBLAS_NUM_THREADS OMP_NUM_THREADS MPLBACKEND MPLCONFIGDIR'.split()
found += [name for name in os.environ if name not in ours]
found
";

/// The demo under way.
pub(super) struct Steps {
    client: Client,
    key: VerifyingKey,
    failed: u32,
    nonces: u32,
}

/// A run of the demo: what was asked, and what came back.
struct Ran {
    request: Value,
    reply: Reply,
    body: Value,
}

impl Steps {
    pub(super) async fn new(address: SocketAddr, key: VerifyingKey) -> anyhow::Result<Self> {
        Ok(Self { client: Client::connect(address).await?, key, failed: 0, nonces: 0 })
    }

    /// Takes every step; true if everything held.
    pub(super) async fn all(mut self) -> anyhow::Result<bool> {
        let health = self.client.get("/health").await?.json()?;
        self.check("health", health["status"] == "ok", &format!("code runs in tier `{}`", health["sandbox"]));
        let echo = self.execute("echo", json!({"hello": "world"})).await?;
        self.expect("a tool", &echo, 200, "/result/echo/hello", &json!("world"));
        let add = self.execute("add", json!("{\"a\": 2, \"b\": 3}")).await?;
        self.expect("arguments as a string, as models send them", &add, 200, "/result/sum", &json!(5));
        let value = self.execute("python", json!({"code": "print('working')\n6 * 7"})).await?;
        self.expect("python: the value of the last expression", &value, 200, "/result/result", &json!("42"));
        let raised = self.execute("python", json!({"code": "1 / 0"})).await?;
        self.expect(
            "python: an exception is an answer",
            &raised,
            200,
            "/result/error/name",
            &json!("ZeroDivisionError"),
        );
        let curious = self.execute("python", json!({"code": CURIOUS})).await?;
        self.expect("python: nothing of the host to be seen", &curious, 200, "/result/result", &json!("[]"));
        let shell = self.execute("bash", json!({"code": "echo $((6 * 7)) | tr 4 5; exit 3"})).await?;
        self.expect("bash: its own exit code", &shell, 200, "/result/error/message", &json!("3"));
        let late = self.execute("python", json!({"code": "while True: pass", "timeout": 1})).await?;
        self.expect("a timeout", &late, 200, "/result/error/name", &json!("Timeout"));
        self.replay(&value).await?;
        self.mcp().await?;
        self.refusals().await?;
        for ran in [&echo, &add, &value, &raised, &curious, &shell, &late] {
            self.receipt(ran).await?;
        }
        self.tamper(&value).await?;
        if self.failed == 0 {
            terminal::line("everything held");
        } else {
            terminal::line(format_args!("{} of the steps above did NOT hold", self.failed));
        }
        Ok(self.failed == 0)
    }

    async fn execute(&mut self, action: &str, payload: Value) -> anyhow::Result<Ran> {
        self.nonces += 1;
        let request = json!({"action": action, "payload": payload, "nonce": format!("demo-{}", self.nonces)});
        let reply = self.client.post("/execute", &request).await?;
        let body = reply.json()?;
        Ok(Ran { request, reply, body })
    }

    fn check(&mut self, what: &str, held: bool, detail: &str) {
        self.failed += u32::from(!held);
        terminal::line(format_args!("{} {what}: {detail}", if held { "ok  " } else { "FAIL" }));
    }

    fn expect(&mut self, what: &str, ran: &Ran, status: u16, pointer: &str, value: &Value) {
        let found = ran.body.pointer(pointer).unwrap_or(&Value::Null);
        let held = ran.reply.status == status && found == value;
        let told = if held { found.to_string() } else { format!("{} {}", ran.reply.status, ran.body) };
        self.check(what, held, &told);
        if let Some(timing) = &ran.reply.timing {
            terminal::line(format_args!("       {}", rooms(timing)));
        }
    }

    async fn replay(&mut self, first: &Ran) -> anyhow::Result<()> {
        let again = self.client.post("/execute", &first.request).await?;
        let same = again.body == first.reply.body && again.replayed;
        self.check(
            "a replay answers the same bytes, and runs nothing",
            same,
            &format!("{} bytes", again.body.len()),
        );
        let mut changed = first.request.clone();
        changed["payload"] = json!({"code": "41"});
        let refused = self.client.post("/execute", &changed).await?;
        let code = refused.json()?["code"].clone();
        self.check(
            "a changed replay is refused",
            refused.status == 409 && code == "nonce-reused",
            &code.to_string(),
        );
        Ok(())
    }

    /// The same gateway for a client of the Model Context Protocol: the tools, and a call that comes twice under one name.
    async fn mcp(&mut self) -> anyhow::Result<()> {
        let message = |id: u32, method: &str, params: Value| json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let listed = self.client.post("/mcp", &message(1, "tools/list", json!({}))).await?.json()?;
        let tools = listed.pointer("/result/tools").and_then(Value::as_array).map_or(0, Vec::len);
        self.check("mcp: the tools are listed", tools > 1, &format!("{tools} tools"));
        let call = json!({
            "name": "execute_code",
            "arguments": {"code": "import os; os.urandom(8).hex()"},
            "_meta": {"dev.execgate/idempotency-key": "demo-mcp"},
        });
        let first = self.client.post("/mcp", &message(2, "tools/call", call.clone())).await?.json()?;
        let again = self.client.post("/mcp", &message(2, "tools/call", call)).await?.json()?;
        let value = first.pointer("/result/structuredContent/value").cloned().unwrap_or_default();
        let same = value.is_string() && first == again;
        self.check("mcp: a call that comes twice runs once", same, &value.to_string());
        Ok(())
    }

    async fn refusals(&mut self) -> anyhow::Result<()> {
        let unknown = json!({"action": "launch", "nonce": "demo-unknown"});
        let cases = [(unknown, 400, "unknown-action"), (json!({"action": "echo"}), 400, "bad-field")];
        for (request, status, code) in cases {
            let reply = self.client.post("/execute", &request).await?;
            let body = reply.json()?;
            let held = reply.status == status && body["code"] == code;
            self.check(
                "a refusal names its room and rule",
                held,
                &format!("{} {}", body["room"], body["detail"]),
            );
        }
        Ok(())
    }

    async fn file(&mut self, ran: &Ran) -> anyhow::Result<ReceiptFile> {
        let id = ran.body["id"].as_str().context("the answer has no id")?;
        let reply = self.client.get(&format!("/receipts/{id}")).await?;
        ensure!(reply.status == 200, "the receipt of {id} is not there");
        let mut file = ReceiptFile::from_json(&reply.body)?;
        file.result = Some(ran.body["result"].clone());
        let payload = &ran.request["payload"];
        file.args = Some(match payload.as_str() {
            Some(text) => serde_json::from_str(text)?,
            None => payload.clone(),
        });
        Ok(file)
    }

    async fn receipt(&mut self, ran: &Ran) -> anyhow::Result<()> {
        let file = self.file(ran).await?;
        let checked = verify(&file, core::slice::from_ref(&self.key));
        let answered = ran.body["receipt"] == file.receipt.to_hex();
        let detail = checked.as_ref().map_or_else(ToString::to_string, |_| file.receipt.to_hex());
        self.check("its receipt verifies offline", checked.is_ok() && answered, &detail);
        let question =
            json!({"exec_id": ran.body["id"], "result": ran.body["result"], "receipt": ran.body["receipt"]});
        let online = self.client.post("/receipts/verify", &question).await?.json()?;
        self.check("and online", online["valid"] == true, &online.to_string());
        Ok(())
    }

    async fn tamper(&mut self, ran: &Ran) -> anyhow::Result<()> {
        let mut file = self.file(ran).await?;
        file.result =
            Some(json!({"language": "python", "stdout": "", "stderr": "", "result": "43", "error": null}));
        let verdict = verify(&file, core::slice::from_ref(&self.key));
        let told = verdict.as_ref().map_or_else(ToString::to_string, |_| "it was accepted".to_owned());
        self.check("a tampered result is found out", verdict.is_err(), &told);
        let mut file = self.file(ran).await?;
        let flipped = file.envelope.payload.replacen('A', "B", 1);
        file.envelope.payload = flipped;
        let verdict = verify(&file, core::slice::from_ref(&self.key));
        let told = verdict.as_ref().map_or_else(ToString::to_string, |_| "it was accepted".to_owned());
        self.check("a flipped byte in a receipt is found out", verdict.is_err(), &told);
        Ok(())
    }
}

/// `propose;dur=0.012, …` as `propose 0.012 → … ms`.
fn rooms(timing: &str) -> String {
    let rooms: Vec<String> = timing.split(", ").map(|room| room.replace(";dur=", " ")).collect();
    format!("{} ms", rooms.join(" → "))
}
