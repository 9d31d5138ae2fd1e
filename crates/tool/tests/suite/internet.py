"""An internet of two network namespaces: in this one its servers, in the other the host that fetches.

Makes certificates in the folder that it is given, tells the process whose namespace the host's is, and then for each line
of its input how many connections have come to addresses that are nobody's business. Lives until its input ends.
"""
import http.server
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import urllib.parse

FOLDER = sys.argv[1]
GATEWAY, HOST, GATEWAY6, HOST6 = "193.0.14.1", "193.0.14.2", "2001:7fd::1", "2001:7fd::2"
PUBLIC, PUBLIC6 = "93.184.216.34", "2606:2800:220:1::34"
PRIVATE = ["10.9.9.9", "172.16.9.9", "192.168.9.9", "100.64.9.9", "169.254.169.254", "198.18.9.9"]
PRIVATE6 = ["fc00::9", "fd00:ec2::254", "64:ff9b::a09:909", "64:ff9b::7f00:1", "2002:a09:909::1"]

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
here("-6", "address", "add", GATEWAY6 + "/64", "dev", "out", "nodad")
here("link", "set", "out", "up")
for address in [PUBLIC, *PRIVATE]:
    here("address", "add", address + "/32", "dev", "lo")
for address in [PUBLIC6, *PRIVATE6]:
    here("-6", "address", "add", address + "/128", "dev", "lo", "nodad")
there("link", "set", "lo", "up")
there("address", "add", HOST + "/24", "dev", "in")
there("-6", "address", "add", HOST6 + "/64", "dev", "in", "nodad")
there("link", "set", "in", "up")
there("route", "add", "default", "via", GATEWAY)
there("-6", "route", "add", "default", "via", GATEWAY6)

NAMES = {
    "good.example": [PUBLIC],
    "six.example": [PUBLIC6],
    "wrong.example": [PUBLIC],
    "expired.example": [PUBLIC],
    "untrusted.example": [PUBLIC],
    "private.example": ["10.9.9.9"],
    "mixed.example": [PUBLIC, "10.9.9.9"],
    "metadata.example": ["169.254.169.254"],
    "shared.example": ["100.64.9.9"],
    "host.example": [HOST],
    "loopback.example": ["127.0.0.1"],
    "loopback6.example": ["::1"],
    "unique.example": ["fc00::9"],
    "metadata6.example": ["fd00:ec2::254"],
    "mapped.example": ["::ffff:10.9.9.9"],
    "translated.example": ["64:ff9b::a09:909"],
    "tunnelled.example": ["2002:a09:909::1"],
}
asked, reached = [], []


def addresses(name):
    if name == "rebind.example":
        return [PUBLIC if asked.count(name) == 1 else "10.9.9.9"]
    return NAMES.get(name, [])


def answer(packet):
    at, parts = 12, []
    while packet[at]:
        parts.append(packet[at + 1 : at + 1 + packet[at]].decode())
        at += 1 + packet[at]
    name, (kind,) = ".".join(parts).lower(), struct.unpack(">H", packet[at + 1 : at + 3])
    if kind == 1:
        asked.append(name)
    records = []
    for one in addresses(name):
        if (":" in one) == (kind == 28) and kind in (1, 28):
            family = socket.AF_INET6 if ":" in one else socket.AF_INET
            records.append(packet[12 : at + 1] + struct.pack(">HHI", kind, 1, 0))
            content = socket.inet_pton(family, one)
            records[-1] += struct.pack(">H", len(content)) + content
    is_known = name in NAMES or name == "rebind.example"
    head = packet[:2] + struct.pack(">5H", 0x8180 if is_known else 0x8183, 1, len(records), 0, 0)
    return head + packet[12 : at + 5] + b"".join(records)


def resolve():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((GATEWAY, 53))
    while True:
        packet, client = server.recvfrom(4096)
        server.sendto(answer(packet), client)


class Told(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f"{self.path} of {self.headers['Host']}".encode()
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", urllib.parse.unquote(self.path[4:]))
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def __init__(self, address, port, wrap=lambda listener: listener):
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), Told)
        self.socket = wrap(self.socket)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        """A client that does not like a certificate hangs up."""


class Forbidden(Server):
    def get_request(self):
        got = super().get_request()
        reached.append(self.server_address)
        return got


def openssl(*words):
    subprocess.run(["openssl", *words], check=True, stderr=subprocess.DEVNULL, cwd=FOLDER)


KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
openssl("req", "-x509", *KEY, "-subj", "/CN=a CA of a test", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2")
contexts = {}
for name, named, days, trusted in [
    ("good", "good", "2", True),
    ("wrong", "good", "2", True),
    ("expired", "expired", "-1", True),
    ("untrusted", "untrusted", "2", False),
]:
    key, request, certificate = f"{name}.key", f"{name}.csr", f"{name}.pem"
    subject = ["-subj", "/CN=server", "-addext", f"subjectAltName=DNS:{named}.example"]
    if trusted:
        openssl("req", *KEY, *subject, "-keyout", key, "-out", request)
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-copy_extensions", "copy"]
        openssl("x509", "-req", "-in", request, *signed, "-days", days, "-out", certificate)
    else:
        openssl("req", "-x509", *KEY, *subject, "-keyout", key, "-out", certificate, "-days", days)
    contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    contexts[name].load_cert_chain(f"{FOLDER}/{certificate}", f"{FOLDER}/{key}")


def pick(connection, name, _):
    connection.context = contexts[name.split(".")[0]]


contexts["good"].sni_callback = pick
threading.Thread(target=resolve, daemon=True).start()
for address in (PUBLIC, PUBLIC6):
    Server(address, 80)
Server(PUBLIC, 443, lambda listener: contexts["good"].wrap_socket(listener, server_side=True, do_handshake_on_connect=False))
for address in [*PRIVATE, *PRIVATE6]:
    Forbidden(address, 80)
# The host's own server counts for itself, in its namespace.
OWN = """
import socket
servers = [socket.create_server((a, 80), family=f) for a, f in
           (("0.0.0.0", socket.AF_INET), ("::", socket.AF_INET6))]
import select
print("here", flush=True)
while True:
    for one in select.select(servers, [], [])[0]:
        one.accept()[0].close()
        print("reached", flush=True)
"""
own_server = ["nsenter", "--target", str(host.pid), "--net", sys.executable, "-c", OWN]
own_server = subprocess.Popen(own_server, stdout=subprocess.PIPE, text=True)
own_server.stdout.readline()
threading.Thread(target=lambda: reached.extend(own_server.stdout), daemon=True).start()
print(host.pid, flush=True)
for _ in sys.stdin:
    print(len(reached), flush=True)
own_server.kill()
host.kill()
