"""An internet of two network namespaces: in this one its servers, in the other the host that a sandbox is on.

Tells the process whose namespace the host's is, and lives until its standard input ends.
"""
import http.server
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading

CERTIFICATE, KEY = sys.argv[1:]
GATEWAY, HOST = "193.0.14.1", "193.0.14.2"
PUBLIC, EMPTY, PRIVATE, METADATA = "93.184.216.34", "93.184.216.35", "10.9.9.9", "169.254.169.254"

host = subprocess.Popen(["unshare", "--net", "--", "sleep", "infinity"])
own = os.readlink("/proc/self/ns/net")
while os.readlink(f"/proc/{host.pid}/ns/net") == own or open(f"/proc/{host.pid}/comm").read() != "sleep\n":
    pass


def here(*words):
    subprocess.run(["ip", *words], check=True)


def there(*words):
    subprocess.run(["nsenter", "--target", str(host.pid), "--net", "ip", *words], check=True)


here("link", "set", "lo", "up")
here("link", "add", "out", "type", "veth", "peer", "name", "in", "netns", str(host.pid))
here("address", "add", GATEWAY + "/24", "dev", "out")
here("link", "set", "out", "up")
for address in (PUBLIC, EMPTY, PRIVATE, METADATA):
    here("address", "add", address + "/32", "dev", "lo")
there("link", "set", "lo", "up")
there("address", "add", HOST + "/24", "dev", "in")
there("link", "set", "in", "up")
there("route", "add", "default", "via", GATEWAY)

NAMES = {
    "good.example": [PUBLIC],
    "a.wild.example": [PUBLIC],
    "wild.example": [PUBLIC],
    "bad.example": [PUBLIC],
    "empty.example": [EMPTY],
    "private.example": [PRIVATE],
    "mixed.example": [PUBLIC, PRIVATE],
    "metadata.example": [METADATA],
    "host.example": [HOST],
    "both.example": [PUBLIC, HOST],
    "loopback.example": ["127.0.0.1"],
    "mapped.example": ["::ffff:" + PUBLIC],
    "alias.example": ["good.example", PUBLIC],
    "inner.example": ["private.example", PRIVATE],
}
asked = []


def addresses(name):
    if name == "rebind.example":
        return [PUBLIC if asked.count(name) <= 2 else PRIVATE]
    return NAMES.get(name, [])


def encoded(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


def answer(packet):
    at, parts = 12, []
    while packet[at]:
        parts.append(packet[at + 1 : at + 1 + packet[at]].decode())
        at += 1 + packet[at]
    name, (kind,) = ".".join(parts).lower(), struct.unpack(">H", packet[at + 1 : at + 3])
    asked.append(name)
    if name == "silent.example":
        return None
    owner, records = name, []
    for one in addresses(name):
        if one.endswith(".example"):
            records.append((owner, 5, encoded(one)))
            owner = one
        elif (":" in one) == (kind == 28) and kind in (1, 28):
            records.append((owner, kind, socket.inet_pton(socket.AF_INET6 if ":" in one else socket.AF_INET, one)))
    head = packet[:2] + struct.pack(">5H", 0x8180 if records or addresses(name) else 0x8183, 1, len(records), 0, 0)
    told = [encoded(o) + struct.pack(">HHIH", k, 1, 0, len(c)) + c for o, k, c in records]
    return head + packet[12 : at + 5] + b"".join(told)


def resolve():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((GATEWAY, 53))
    while True:
        packet, client = server.recvfrom(4096)
        told = answer(packet)
        if told:
            server.sendto(told, client)


class Told(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def tell(self, body, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/asked":
            self.tell(" ".join(sorted(set(asked))).encode())
        elif self.path == "/elsewhere":
            self.tell(b"", 302, Location="http://bad.example/")
        elif self.path.startswith("/bytes/"):
            self.tell(b"x" * int(self.path[7:]))
        else:
            self.tell(f"{self.path} of {self.headers['Host']} at {self.connection.getsockname()[0]}".encode())

    def do_POST(self):
        self.tell(str(len(self.rfile.read(int(self.headers["Content-Length"])))).encode())

    def log_message(self, *_):
        pass


def serve(address, port, wrap=lambda listener: listener):
    server = http.server.ThreadingHTTPServer((address, port), Told)
    server.socket = wrap(server.socket)
    threading.Thread(target=server.serve_forever, daemon=True).start()


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERTIFICATE, KEY)
threading.Thread(target=resolve, daemon=True).start()
for address in (PUBLIC, PRIVATE, METADATA):
    serve(address, 80)
serve(PUBLIC, 443, lambda listener: context.wrap_socket(listener, server_side=True))
own_server = [sys.executable, "-m", "http.server", "80", "--bind", HOST]
own_server = subprocess.Popen(["nsenter", "--target", str(host.pid), "--net", *own_server], stderr=subprocess.DEVNULL)
print(host.pid, flush=True)
sys.stdin.read()
own_server.kill()
host.kill()
