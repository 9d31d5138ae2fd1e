// An unmodified client in TypeScript's own words: process.argv has the mode of its version negotiation, then a URL, or a
// program and its arguments; prints what it was answered.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

const [mode, first, ...rest] = process.argv.slice(1);
const transport = rest.length
  ? new StdioClientTransport({ command: first, args: rest, stderr: "ignore" })
  : new StreamableHTTPClientTransport(new URL(first));
const client = new Client({ name: "test", version: "1" }, mode === "legacy" ? {} : { versionNegotiation: { mode } });
await client.connect(transport);
const told = {};
told.tools = (await client.listTools()).tools.map((tool) => tool.name);
told.code = (await client.callTool({ name: "execute_code", arguments: { code: "[1, 2].map((n) => n * 21)[1]", language: "javascript" } })).structuredContent;
const heard = [];
await client.callTool(
  { name: "execute_code", arguments: { code: "import time\nfor i in range(3):\n    print('line', i, flush=True)\n    time.sleep(0.7)" } },
  { onprogress: (progress) => heard.push(progress) },
);
told.progress = heard;
const controller = new AbortController();
const started = Date.now();
const sleeping = client.callTool(
  { name: "execute_code", arguments: { code: "import time\nprint('asleep', flush=True)\ntime.sleep(60)" } },
  { signal: controller.signal, onprogress: () => controller.abort() },
);
told.cancelled = await sleeping.then(() => "answered", (error) => error.name);
told.took = Date.now() - started;
const bad = await client.callTool({ name: "math_compute", arguments: { expr: "1" } });
told.bad = [bad.isError, bad.content[0].text];
await client.close();
console.log(JSON.stringify(told));
