//! Network profiles: what a run with a loopback can do on it, and that it reaches nobody with it.

use std::sync::mpsc;

use execgate_sandbox::{LimitKind, Network, Request, Sandbox, Stdin, Verdict};

use super::world::{bash, python, sandbox, told};

/// The same with a loopback.
fn with_loopback(request: Request) -> Request {
    Request { network: Network::Loopback, ..request }
}

/// Runs code with a loopback and gives the text of its value.
fn value_on(sandbox: &Sandbox, request: Request) -> String {
    let run = sandbox.run(with_loopback(request)).unwrap();
    assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
    run.value.unwrap_or_default()
}

#[test]
fn a_python_serves_itself_over_http_on_both_families() {
    let code = "import http.server, socket, threading, urllib.request\n\
                class Six(http.server.ThreadingHTTPServer): address_family = socket.AF_INET6\n\
                class Told(http.server.BaseHTTPRequestHandler):\n    \
                def do_GET(self): self.send_response(200); self.end_headers(); self.wfile.write(self.path.encode())\n    \
                def log_message(self, *a): pass\n\
                def ask(kind, host, name):\n    \
                server = kind((host, 0), Told); threading.Thread(target=server.serve_forever, daemon=True).start()\n    \
                return urllib.request.urlopen(f'http://{name}:{server.server_port}/hello', timeout=5).read()\n\
                ask(http.server.ThreadingHTTPServer, '127.0.0.1', 'localhost'), ask(Six, '::1', '[::1]')";
    assert_eq!(value_on(&sandbox(), python(code)), "(b'/hello', b'/hello')");
}

#[test]
fn asyncio_and_udp_work_on_a_loopback() {
    let code = "import asyncio, socket\n\
                async def main():\n    \
                async def echo(r, w): w.write(await r.readline()); await w.drain(); w.close()\n    \
                server = await asyncio.start_server(echo, '127.0.0.1', 0)\n    \
                r, w = await asyncio.open_connection('127.0.0.1', server.sockets[0].getsockname()[1])\n    \
                w.write(b'around\\n'); return await r.readline()\n\
                a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); a.bind(('127.0.0.1', 0))\n\
                b = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); b.sendto(b'datagram', a.getsockname())\n\
                asyncio.run(main()), a.recv(99)";
    assert_eq!(value_on(&sandbox(), python(code)), "(b'around\\n', b'datagram')");
}

#[test]
fn a_node_serves_itself_over_http() {
    let code = "const http = require('http'); new Promise((done) => {\n\
                const server = http.createServer((_, answer) => { answer.end('over a loopback'); server.close() })\n\
                server.listen(0, '127.0.0.1', () => fetch(`http://localhost:${server.address().port}/`)\n\
                .then((answer) => answer.text()).then(done)) })";
    assert_eq!(value_on(&sandbox(), Request::new("javascript", code)), "'over a loopback'");
}

#[test]
fn a_bash_talks_to_its_own_child() {
    let code = "python3 -S -c 'import socket; s = socket.create_server((\"127.0.0.1\", 7777)); print(1, flush=True); \
                c = s.accept()[0]; c.sendall(b\"from there\\n\")' > up & until [ -s up ]; do :; done; \
                exec 9<>/dev/tcp/127.0.0.1/7777; cat <&9";
    let run = sandbox().run(with_loopback(bash(code))).unwrap();
    assert_eq!(String::from_utf8_lossy(&run.stdout), "from there\n", "{}", told(&run));
}

#[test]
fn a_loopback_leads_nowhere_else() {
    let code = "import errno, socket\n\
                def tried(kind, at):\n    \
                s = socket.socket(*kind); s.settimeout(2)\n    \
                try: s.connect(at); s.send(b'x'); return 'out'\n    \
                except OSError as e: return errno.errorcode[e.errno]\n\
                def made(*kind):\n    \
                try: socket.socket(*kind); return 'made'\n    \
                except OSError as e: return errno.errorcode[e.errno]\n\
                tcp, udp, six = (2, 1), (2, 2), (10, 1)\n\
                print(*[tried(k, a) for k, a in [(tcp, ('93.184.216.34', 80)), (udp, ('8.8.8.8', 53)), \
                (tcp, ('169.254.169.254', 80)), (tcp, ('10.0.0.1', 22)), (six, ('2606:4700::1111', 443)), \
                (six, ('::ffff:1.1.1.1', 443)), (udp, ('224.0.0.1', 9)), (tcp, ('127.0.0.1', 22))]])\n\
                print(*[made(*k) for k in [(2, 3, 1), (2, 2, 1), (16, 3, 0), (17, 3, 0), (40, 1), (38, 5), (2, 1, 132)]])\n\
                try: socket.getaddrinfo('example.com', 80)\n\
                except socket.gaierror as e: print('unresolved')\n\
                print(open('/proc/self/net/route').read().count('\\n'), sorted(n for _, n in socket.if_nameindex()) \
                if made(16, 3, 0) == 'made' else [l.split(':')[0].strip() for l in open('/proc/self/net/dev')][2:])";
    let run = sandbox().run(with_loopback(python(code))).unwrap();
    let out = String::from_utf8_lossy(&run.stdout);
    let none = "EAFNOSUPPORT ".repeat(7);
    let expected =
        format!("{}ECONNREFUSED\n{}\nunresolved\n1 ['lo']\n", "ENETUNREACH ".repeat(7), none.trim_end());
    assert_eq!(out, expected, "{}", told(&run));
}

#[test]
fn what_a_guest_leaves_in_its_sockets_is_bounded_by_its_memory() {
    let code = "import socket\n\
                server = socket.create_server(('127.0.0.1', 0), backlog=200); held = 0; kept = []\n\
                for _ in range(110):\n    \
                one = socket.create_connection(server.getsockname()); kept += [one, server.accept()[0]]; one.setblocking(False)\n    \
                try:\n        \
                while True: held += one.send(bytes(1 << 16))\n    \
                except BlockingIOError: pass\n\
                held";
    let mut request = with_loopback(python(code));
    request.limits.memory_bytes = 64 << 20;
    let run = sandbox().run(request).unwrap();
    let held = run.value.as_ref().and_then(|value| value.parse::<u64>().ok());
    if run.verdict == Verdict::Value {
        // Once what fits is held, nothing more is taken.
        assert!(held.is_some_and(|held| held <= 96 << 20), "{}", told(&run));
    } else {
        assert_eq!(run.verdict, Verdict::Limit(LimitKind::OutOfMemory), "{}", told(&run));
    }
}

#[test]
fn two_runs_at_once_do_not_meet_on_their_loopbacks() {
    let sandbox = sandbox();
    let code = "import socket, sys\n\
                def meets():\n    \
                try: socket.create_connection(('127.0.0.1', 5555), 2); return True\n    \
                except OSError: return False\n\
                met = meets(); s = socket.create_server(('127.0.0.1', 5555))\n\
                print('bound', flush=True); sys.stdin.read(1); met";
    let (seen, sees) = mpsc::channel();
    std::thread::scope(|scope| {
        let mut lanes = Vec::new();
        for _ in 0..2 {
            let (input, held) = rustix::pipe::pipe().unwrap();
            let mut request = with_loopback(python(code));
            request.stdin = Stdin::Inherit(input);
            let seen = seen.clone();
            request.sink = Some(Box::new(move |_, _| seen.send(()).unwrap()));
            lanes.push((held, scope.spawn(|| sandbox.run(request).unwrap())));
            // The second comes when the first listens.
            sees.recv().unwrap();
        }
        for (held, lane) in lanes {
            drop(held);
            let run = lane.join().unwrap();
            assert_eq!(run.value.as_deref(), Some("False"), "{}", told(&run));
        }
    });
}

#[test]
fn the_profile_is_that_of_the_run_and_stands_in_what_held_it() {
    let sandbox = sandbox();
    let socket = "import errno, socket\ntry: socket.socket(); made = 'made'\nexcept OSError as e: made = errno.errorcode[e.errno]\nmade";
    let run = |request: Request| {
        let run = sandbox.run(request).unwrap();
        assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
        run
    };
    let mut filters = Vec::new();
    // One after the other, so that what one has had is used again by the next.
    for (network, expected) in [
        (Network::None, "'EPERM'"),
        (Network::Loopback, "'made'"),
        (Network::None, "'EPERM'"),
        (Network::Loopback, "'made'"),
    ] {
        let name = network.name();
        let run = run(Request { network, ..python(socket) });
        assert_eq!((run.value.as_deref(), run.enforced.network.as_str()), (Some(expected), name));
        let denies_tcp = run.enforced.landlock_abi >= 4 && name == "none";
        assert_eq!(run.enforced.landlock_tcp, denies_tcp, "{name}");
        filters.push((run.enforced.seccomp_sha256, run.enforced.seccomp_rules));
    }
    assert!(filters[0] != filters[1] && filters[0] == filters[2] && filters[1] == filters[3], "{filters:?}");
    assert_eq!(sandbox.enforced().network, "none");
    // Its rights are those of any run: none.
    let rights = run(with_loopback(python(
        "[l.split()[1] for l in open('/proc/self/status') if l.startswith(('CapPrm', 'CapEff', 'CapBnd', 'NoNewPrivs', 'Seccomp:'))]",
    )));
    let none = "0000000000000000";
    assert_eq!(rights.value, Some(format!("['{none}', '{none}', '{none}', '1', '2']")));
}
