// What the conformance suite takes for its client: execgate between a client and the server of the suite. It is started as
// `node upstream.mjs EXECGATE URL`, calls what a scenario wants to be called, and says nothing of what it thinks of the answers.
import { spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const [execgate, url] = process.argv.slice(2);
const scenario = process.env.MCP_CONFORMANCE_SCENARIO ?? "";
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? "{}");
const folder = mkdtempSync(join(tmpdir(), "execgate-conformance-"));
chmodSync(folder, 0o755);
const put = (name, text) => (writeFileSync(join(folder, name), text, { mode: 0o644 }), join(folder, name));
const environment = { PATH: "/usr/bin:/bin", HOME: folder, TMPDIR: tmpdir() };

// What a client calls: what the scenario says, or each tool with something of the right kind.
function calls(tools) {
  if (context.toolCalls) return context.toolCalls;
  const echo = tools.find((tool) => tool.name === "json_schema_echo");
  if (echo) {
    const focal = tools.find((tool) => tool !== echo);
    return [{ name: echo.name, arguments: { schema: focal.inputSchema } }];
  }
  const value = (schema) => ({ number: 2, integer: 2, boolean: true, array: [], object: {} })[schema.type] ?? "x";
  const filled = (tool) => Object.entries(tool.inputSchema.properties ?? {}).map(([name, schema]) => [name, value(schema)]);
  return tools.map((tool) => ({ name: tool.name, arguments: Object.fromEntries(filled(tool)) }));
}

// What a client answers that is asked by a server: a form as it is filled in already.
function answered({ method, params }) {
  if (method === "roots/list") return { roots: [{ uri: "file:///work", name: "work" }] };
  if (method === "sampling/createMessage") return { role: "assistant", model: "m", content: { type: "text", text: "x" } };
  const usual = { boolean: true, integer: 1, number: 1 };
  const fields = Object.entries(params.requestedSchema?.properties ?? {});
  const content = Object.fromEntries(fields.map(([name, field]) => [name, field.default ?? usual[field.type] ?? "x"]));
  return { action: "accept", content };
}

// Over standard input and output, as a client of `execgate proxy`.
async function piped() {
  const policy = put("policy.json", JSON.stringify({ version: "1", default: "allow" }));
  const args = ["proxy", "--policy", policy, "--data-dir", join(folder, "data"), "--name", "suite", "--url", url];
  args.push("--allow-private", "--call-timeout", "10");
  for (const what of ["sampling", "elicitation", "roots"]) args.push("--allow", what);
  const child = spawn(execgate, args, { stdio: ["pipe", "pipe", "inherit"], env: environment });
  const ended = new Promise((resolve) => child.on("exit", resolve));
  const waiting = new Map();
  createInterface({ input: child.stdout }).on("line", (line) => {
    const message = JSON.parse(line);
    if (message.method && message.id !== undefined) send({ id: message.id, result: answered(message) });
    else waiting.get(message.id)?.(message);
  });
  let last = 0;
  const send = (message) => child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  const ask = (method, params) =>
    Promise.race([
      new Promise((resolve) => {
        waiting.set(++last, resolve);
        send({ id: last, method, params });
      }),
      ended.then(() => Promise.reject(new Error("execgate has ended"))),
    ]);
  const capabilities = { sampling: {}, elicitation: {}, roots: {} };
  await ask("initialize", { protocolVersion: "2025-06-18", capabilities, clientInfo: { name: "t", version: "1" } });
  send({ method: "notifications/initialized" });
  const { tools } = (await ask("tools/list", {})).result;
  for (const call of calls(tools)) await ask("tools/call", call);
  child.stdin.end();
  await ended;
}

// Over HTTP, as a client of a gateway whose configuration names the server and the credentials for it.
async function served() {
  const metadata = await (await fetch(new URL("/.well-known/oauth-protected-resource/mcp", url))).json();
  const secret = put("secret", context.client_secret);
  const config = put(
    "execgate.toml",
    `[surfaces]\ncode = "off"\n[secrets.CLIENT]\nfile = "${secret}"\n[[upstream]]\nname = "suite"\nurl = "${url}"\n` +
      `first = "accept"\nallow_private = true\nshareable = true\n` +
      `oauth = { client_id = "${context.client_id}", client_secret = "CLIENT", issuer = "${metadata.authorization_servers[0]}" }\n`,
  );
  chmodSync(secret, 0o600);
  const args = ["serve", "--listen", "127.0.0.1:0", "--config", config, "--data-dir", join(folder, "data")];
  const child = spawn(execgate, args, { stdio: ["ignore", "pipe", "inherit"], env: environment });
  const ended = new Promise((resolve) => child.on("exit", resolve));
  const lines = createInterface({ input: child.stdout });
  const origin = (await lines[Symbol.asyncIterator]().next()).value.match(/http:\/\/\S+/)[0];
  const meta = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": { name: "t", version: "1" },
    "io.modelcontextprotocol/clientCapabilities": {},
  };
  const ask = async (method, params) => {
    const headers = { "content-type": "application/json", accept: "application/json, text/event-stream" };
    headers["mcp-protocol-version"] = "2026-07-28";
    headers["mcp-method"] = method;
    if (params.name) headers["mcp-name"] = params.name;
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: { ...params, _meta: meta } });
    const text = await (await fetch(`${origin}/mcp/suite`, { method: "POST", headers, body })).text();
    return JSON.parse(text.split("\n").find((line) => line.includes("{")).replace(/^data: /, ""));
  };
  let tools = [];
  while (tools.length === 0) tools = (await ask("tools/list", {})).result.tools;
  for (const call of calls(tools)) await ask("tools/call", call);
  child.kill("SIGTERM");
  await ended;
}

try {
  await (scenario.startsWith("auth/client-credentials") ? served() : piped());
} finally {
  rmSync(folder, { recursive: true, force: true });
}
