"""An MCP server in the jail that looks for a way out of its folders, and leaves all kinds of things in them."""
import json
import os
import sys

HOME = "/home/user"


def attempt(what):
    try:
        return what()
    except OSError as error:
        return error.strerror


def tree(top):
    found = {}
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, top)] = open(path).read() if os.path.isfile(path) else "?"
    return found


def leave():
    os.makedirs(HOME + "/kept/notes", exist_ok=True)
    os.chdir(HOME + "/kept")
    open("notes/a", "w").write("first")
    open("tool", "w").write("#!/bin/sh")
    done = {
        "setuid": attempt(lambda: os.chmod("tool", 0o4755)),
        "link": attempt(lambda: os.symlink("/etc/passwd", "passwd")),
        "magic": attempt(lambda: os.symlink("/proc/self/root", "root")),
        "up": attempt(lambda: os.symlink("../../..", "up")),
        "folder": attempt(lambda: os.symlink("/etc", "etc")),
        "second": attempt(lambda: os.link("notes/a", "second")),
        "pipe": attempt(lambda: os.mkfifo("pipe")),
        "device": attempt(lambda: os.mknod("disk", 0o60600, os.makedev(7, 0))),
        "rename": attempt(lambda: os.rename(HOME + "/kept", HOME + "/../../escape")),
        "copy": attempt(lambda: open(HOME + "/workspace/note", "w").write("changed")),
    }
    open("notes/b", "w").write("second")
    return done


def look():
    return {"kept": tree(HOME + "/kept"), "workspace": tree(HOME + "/workspace")}


for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message or "method" not in message:
        continue
    method, params = message["method"], message.get("params") or {}
    if method == "initialize":
        result = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "folders", "version": "1"}}
    elif method == "tools/list":
        result = {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in ["leave", "look"]]}
    else:
        told = leave() if params["name"] == "leave" else look()
        result = {"content": [{"type": "text", "text": json.dumps(told)}]}
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}) + "\n")
    sys.stdout.flush()
