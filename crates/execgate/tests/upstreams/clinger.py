"""An MCP server that remembers, clings to life, kills what keeps it, and has resources and prompts."""
import ctypes
import json
import os
import signal
import sys
import urllib.request

COUNT = 0
try:
    # What its life hangs on, held by itself.
    os.set_inheritable(os.open("/proc/self/fd/0", os.O_WRONLY), True)
except OSError:
    pass
CLING = """
import ctypes, os, signal, sys, time
ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
time.sleep(10000)
"""
SCHEMA = {"type": "object"}
TOOLS = [
    {"name": name, "description": name, "inputSchema": SCHEMA} for name in ("count", "cling", "kill", "fetch")
]
RESOURCES = [{"uri": f"note://{name}", "name": name} for name in ("open", "secret")]
PROMPTS = [{"name": "greet", "arguments": [{"name": "who"}]}, {"name": "curse"}]


def cling(mark):
    """Leaves a process that is in no group of ours, is nobody's child, and dies with nobody."""
    ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            null = os.open("/dev/null", os.O_RDWR)
            for number in range(3):
                os.dup2(null, number)
            os.execv(sys.executable, [sys.executable, "-c", CLING, mark])
        os._exit(0)
    os.wait()
    return "clung"


def kill(_):
    """Kills whatever it can name that keeps it, or has started that."""
    hit = []
    for pid in [os.getppid()] + [int(name) for name in os.listdir("/proc") if name.isdigit()]:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                is_ours = b"__keeper" in file.read()
        except OSError:
            is_ours = False
        if is_ours or pid == os.getppid():
            try:
                os.kill(pid, signal.SIGKILL)
                hit.append(pid)
            except (OSError, OverflowError):
                pass
    return json.dumps(hit)


def fetch(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read().decode()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def call(name, arguments):
    global COUNT
    if name == "count":
        COUNT += 1
        said = str(COUNT)
    else:
        said = {"cling": cling, "kill": kill, "fetch": fetch}[name](arguments.get("of"))
    return {"content": [{"type": "text", "text": said}]}


def answer(method, params):
    if method == "initialize":
        can = {"tools": {}, "resources": {}, "prompts": {}, "completions": {}}
        return {"protocolVersion": params["protocolVersion"], "capabilities": can, "serverInfo": {"name": "clinger", "version": "1"}}
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        return call(params["name"], params.get("arguments") or {})
    if method == "resources/list":
        return {"resources": RESOURCES}
    if method == "resources/templates/list":
        return {"resourceTemplates": [{"uriTemplate": "note://{name}", "name": "notes"}]}
    if method == "resources/read":
        if params["uri"] == "note://none":
            raise KeyError(params["uri"])
        return {"contents": [{"uri": params["uri"], "text": "of " + params["uri"]}]}
    if method == "prompts/list":
        return {"prompts": PROMPTS}
    who = (params.get("arguments") or {}).get("who", "you")
    return {"messages": [{"role": "user", "content": {"type": "text", "text": f"{params['name']} {who}"}}]}


for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message or "method" not in message:
        continue
    told = {"jsonrpc": "2.0", "id": message["id"]}
    try:
        told["result"] = answer(message["method"], message.get("params") or {})
    except KeyError:
        told["error"] = {"code": -32002, "message": "no such thing"}
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
