"""An MCP server that asks its clients: within calls, outside of them, and under names that others have too."""
import json
import sys

heard = []
call = None


def send(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def ask(name, message):
    form = {"type": "object", "properties": {"word": {"type": "string"}}}
    send({"id": name, "method": "elicitation/create", "params": {"message": message, "requestedSchema": form}})


def result(identity, value):
    send({"id": identity, "result": {"content": [{"type": "text", "text": json.dumps(value)}]}})


for line in sys.stdin:
    message = json.loads(line)
    method, identity, params = message.get("method"), message.get("id"), message.get("params") or {}
    if method is None:
        said = message.get("result") or message["error"]["message"]
        if identity == 1 and call is not None:
            result(call, said)
            call = None
        else:
            heard.append([identity, said])
    elif method == "initialize":
        server = {"name": "asking", "version": "1"}
        send({"id": identity, "result": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": server}})
    elif method == "notifications/initialized":
        ask("early", "Outside of any call")
    elif method == "tools/list":
        tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ["ask", "heard"]]
        send({"id": identity, "result": {"tools": tools}})
    elif method == "tools/call" and params["name"] == "ask":
        call = identity
        # Each process of it has the same name for what it asks.
        ask(1, "Who is " + params["arguments"]["who"] + "?")
    elif method == "tools/call":
        result(identity, heard)
    elif identity is not None:
        send({"id": identity, "error": {"code": -32601, "message": "unknown"}})
