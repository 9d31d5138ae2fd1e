"""An MCP server over standard input and output whose lists change when it is told so, and which says so."""
import json
import sys

NAMES = {"resources": ["note://a"], "prompts": ["first"]}


def send(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message or "method" not in message:
        continue
    method, params = message["method"], message.get("params") or {}
    if method == "initialize":
        said = {"listChanged": True}
        offered = {"tools": said, "resources": said, "prompts": said}
        result = {"protocolVersion": params["protocolVersion"], "capabilities": offered, "serverInfo": {"name": "changing", "version": "1"}}
    elif method == "tools/list":
        result = {"tools": [{"name": "add", "description": "Adds to a list.", "inputSchema": {"type": "object"}}]}
    elif method == "tools/call":
        kind, name = params["arguments"]["kind"], params["arguments"]["name"]
        NAMES[kind].append(name)
        token = params.get("_meta", {}).get("progressToken")
        for step in (1, 2) if token is not None else ():
            send({"method": "notifications/progress", "params": {"progressToken": token, "progress": step, "total": 2}})
        send({"method": f"notifications/{kind}/list_changed"})
        result = {"content": [{"type": "text", "text": name}]}
    elif method == "resources/list":
        result = {"resources": [{"uri": uri, "name": uri} for uri in NAMES["resources"]]}
    elif method == "prompts/list":
        result = {"prompts": [{"name": name} for name in NAMES["prompts"]]}
    else:
        send({"id": message["id"], "error": {"code": -32601, "message": "unknown"}})
        continue
    send({"id": message["id"], "result": result})
