//! The one way out: what a run with egress reaches, and everything that it does not.

use std::fs;
use std::sync::mpsc;
use std::time::Duration;

use execgate_sandbox::{
    Decision, Egress, EgressRules, Network, NetworkReport, Outcome, Request, RunError, Stdin, Step, Tier,
    Verdict,
};
use rustix::process::{Pid, Signal, kill_process};

use super::census::kinds_open_in;
use super::internet::{Internet, rules, with};
use super::world::{PATIENCE, bash, comes_true, descendants, python, sandbox, told};

#[test]
fn what_is_named_is_reached_in_plain_text_and_by_tls() {
    let internet = Internet::start();
    let allowed = || rules(&["good.example", "*.wild.example", "alias.example"], &["93.184.216.0/24"]);
    let code = "for url in ('http://good.example/x?y', 'https://GOOD.example./', 'http://a.wild.example/', 'https://alias.example/',\n    \
                'http://93.184.216.34/n'): print(ask(url))\n\
                print(ask('http://good.example/', b'z' * 100_000))";
    let expected = [
        "/x?y of good.example at 93.184.216.34",
        "/ of GOOD.example. at 93.184.216.34",
        "/ of a.wild.example at 93.184.216.34",
        "/ of alias.example at 93.184.216.34",
        "/n of 93.184.216.34 at 93.184.216.34",
        "100000",
    ];
    assert_eq!(internet.lines(allowed(), code), expected);
    let shell = "exec 9<>/dev/tcp/127.0.0.1/3128; printf 'GET http://good.example/ HTTP/1.1\\r\\nHost: good.example\\r\\n\\r\\n' >&9; \
                 tail -n 1 <&9";
    let run = internet.sandbox.run(with(allowed(), bash(shell))).unwrap();
    assert_eq!(String::from_utf8_lossy(&run.stdout), "/ of good.example at 93.184.216.34", "{}", told(&run));
    let node = "const http = require('http'), tls = require('tls'); new Promise((done) => {\n\
                http.request({host: '127.0.0.1', port: 3128, method: 'CONNECT', path: 'good.example:443'}).on('connect', (_, socket) => {\n\
                const secure = tls.connect({socket, servername: 'good.example', rejectUnauthorized: false}, () => \
                secure.end('GET /node HTTP/1.1\\r\\nHost: good.example\\r\\nConnection: close\\r\\n\\r\\n'))\n\
                let all = ''; secure.on('data', (d) => all += d).on('end', () => done(all.split('\\r\\n\\r\\n')[1])) }).end() })";
    let run = internet.sandbox.run(with(allowed(), Request::new("javascript", node))).unwrap();
    assert_eq!(run.value.as_deref(), Some("'/node of good.example at 93.184.216.34'"), "{}", told(&run));
}

#[test]
fn what_is_not_named_is_refused_before_anybody_is_asked_for_it() {
    let internet = Internet::start();
    let code = "for url in ('http://bad.example/', 'https://bad.example/', 'http://wild.example/', 'http://good.example.bad.example/',\n    \
                'http://93.184.216.34/', 'http://good.example:8080/', 'http://good.example/elsewhere'): print(ask(url))\n\
                print(ask('http://good.example/asked'))";
    let not = "not on the allow-list";
    let expected = [
        format!("403 {not}"),
        format!("Tunnel connection failed: 403 {not}"),
        format!("403 {not}"),
        format!("403 {not}"),
        format!("403 {not}"),
        format!("403 the port is {not}"),
        // Where a server sends a client is another request.
        format!("403 {not}"),
        "good.example".to_owned(),
    ];
    assert_eq!(internet.lines(rules(&["good.example", "*.wild.example"], &[]), code), expected);
}

#[test]
fn no_name_leads_to_what_is_not_anybodys() {
    let internet = Internet::start();
    let names = "private inner mixed metadata host both loopback mapped empty nothing silent rebind";
    let all: Vec<_> = names.split(' ').map(|name| format!("{name}.example")).collect();
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    let code = format!("for name in '{names} rebind'.split(): print(ask(f'http://{{name}}.example/'))");
    let expected = [
        "403 the address is private",
        "403 the address is private",
        "403 the address is private",
        "403 the address is of a metadata service",
        "403 the address is of this host",
        "403 the address is of this host",
        "403 the address is not globally routable",
        "403 the address is not globally routable",
        "502 nobody answers there",
        "502 the name has no address",
        "502 the name cannot be resolved",
        "/ of rebind.example at 93.184.216.34",
        "403 the address is private",
    ];
    // A network in the list does not make it anybody's.
    assert_eq!(internet.lines(rules(&all, &["10.0.0.0/8", "169.254.0.0/16"]), &code), expected);
}

#[test]
fn a_number_is_an_address_in_one_form_and_private_ones_need_the_switch() {
    let internet = Internet::start();
    let code = "for host in ('10.9.9.9', '169.254.169.254', '193.0.14.2', '127.0.0.1', '[::ffff:93.184.216.34]', '[::1]',\n    \
                '1572395042', '0x5db8d822', '0135.0270.0330.042', '93.184.55330', '93.184.216.034'):\n    \
                s = f'http://{host}/'; print(raw(f'GET {s} HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n'.encode()).split('\\r\\n')[0])";
    let everything = || rules(&[], &["0.0.0.0/0", "::/0"]);
    let odd = "HTTP/1.1 400 a proxy is asked by CONNECT host:port or by http://host/";
    let forbidden = |why| format!("HTTP/1.1 403 the address is {why}");
    let mut expected = vec![
        forbidden("private"),
        forbidden("of a metadata service"),
        forbidden("of this host"),
        forbidden("not globally routable"),
        forbidden("not globally routable"),
        forbidden("not globally routable"),
    ];
    expected.extend(vec![odd.to_owned(); 5]);
    assert_eq!(internet.lines(everything(), code), expected);
    "HTTP/1.1 200 OK".clone_into(&mut expected[0]);
    let private = EgressRules { allow_private: true, ..everything() };
    assert_eq!(internet.lines(private, code), expected);
}

#[test]
fn a_tunnel_carries_tls_for_the_name_that_was_asked_for_and_nothing_else() {
    let internet = Internet::start();
    let code = "def shaken(host, name):\n    \
                s = socket.create_connection(('127.0.0.1', 3128), 15); s.sendall(f'CONNECT {host}:443 HTTP/1.1\\r\\n\\r\\n'.encode())\n    \
                assert s.recv(999).startswith(b'HTTP/1.1 200 ')\n    \
                try: return ssl._create_unverified_context().wrap_socket(s, server_hostname=name).version()\n    \
                except ssl.SSLError as e: return e.reason\n\
                print(shaken('good.example', 'good.example'), shaken('good.example', 'a.wild.example'), shaken('good.example', None),\n    \
                shaken('93.184.216.34', None), shaken('93.184.216.34', 'good.example'))\n\
                connect = b'CONNECT good.example:443 HTTP/1.1\\r\\n\\r\\n'\n\
                print('SSH' in raw(connect, b'SSH-2.0-x\\r\\n'), 'HTTP/1.1 400' in raw(connect + b'\\x16\\x03\\x01'))";
    let allowed = rules(&["good.example", "*.wild.example"], &["93.184.216.34"]);
    let run = internet.run(allowed, code);
    let refused = "TLSV1_UNRECOGNIZED_NAME";
    let expected = format!("TLSv1.3 {refused} {refused} TLSv1.3 {refused}\nFalse True\n");
    assert_eq!(String::from_utf8_lossy(&run.stdout), expected);
    let refused = run.network.unwrap().decisions.into_iter().filter(|one| one.outcome == Outcome::Refused);
    let why: Vec<_> = refused.map(|one| (one.host, one.why)).collect();
    let expected = [
        ("good.example", "TLS asks for another name"),
        ("good.example", "TLS asks for no name"),
        ("93.184.216.34", "TLS asks for another name"),
        ("good.example", "a tunnel is for TLS, and this is not"),
        ("good.example", "bytes follow the request before its answer"),
    ];
    assert_eq!(why, expected.map(|(host, why)| (host.to_owned(), why.to_owned())));
}

#[test]
fn a_request_that_could_be_read_in_two_ways_is_refused() {
    let internet = Internet::start();
    let code = r"def get(headers, body=''): return raw(f'POST http://good.example/ HTTP/1.1\r\n{headers}\r\n{body}'.encode()).split('\r\n')[0]
ours = 'Host: good.example\r\n'
for headers in ('Host: bad.example\r\n', ours + ours, '', ours + 'Content-Length: 1\r\nContent-Length: 2\r\n', ours + 'Transfer-Encoding: chunked\r\n',
    ours + 'Connection: Host\r\n', ours + 'X: ' + 'y' * 20000 + '\r\n'): print(get(headers))
print(get(ours + 'Content-Length: 0\r\n', 'GET http://bad.example/ HTTP/1.1\r\nHost: bad.example\r\n\r\n'))";
    let host = "HTTP/1.1 400 the Host header is not the host that is asked for";
    let length = "HTTP/1.1 411 a request body needs one Content-Length and no Transfer-Encoding";
    let expected = [
        host,
        host,
        host,
        length,
        length,
        "HTTP/1.1 400 the request cannot be read",
        "HTTP/1.1 431 the head of the request is too long",
        "HTTP/1.1 400 bytes follow the request before its answer",
    ];
    assert_eq!(internet.lines(rules(&["good.example"], &[]), code), expected);
}

#[test]
fn there_is_no_way_around_the_proxy() {
    let internet = Internet::start();
    let code = "import errno\n\
                def tried(kind, at):\n    \
                s = socket.socket(*kind); s.settimeout(2)\n    \
                try: s.connect(at); s.send(b'x'); return 'out'\n    \
                except OSError as e: return errno.errorcode[e.errno]\n\
                print(*[tried(*t) for t in (((2, 1), ('93.184.216.34', 80)), ((2, 2), ('193.0.14.1', 53)), ((10, 1), ('2606:4700::1', 80)))])\n\
                try: socket.getaddrinfo('good.example', 80)\n\
                except socket.gaierror: print('unresolved')\n\
                print([l.split(':')[0].strip() for l in open('/proc/self/net/dev')][2:])";
    let lines = internet.lines(rules(&["good.example"], &[]), code);
    assert_eq!(lines, ["ENETUNREACH ENETUNREACH ENETUNREACH", "unresolved", "['lo']"]);
}

#[test]
fn a_run_is_sent_and_sends_no_more_than_it_may_and_that_is_told() {
    let internet = Internet::start();
    let allowed =
        |bytes_up, bytes_down| EgressRules { bytes_up, bytes_down, ..rules(&["good.example"], &[]) };
    let code = "import http.client\n\
                try: print(len(ask('http://good.example/bytes/1000000')))\n\
                except (http.client.IncompleteRead, OSError) as e: print(len(getattr(e, 'partial', b'')) < 100_000)\n\
                print(ask('http://good.example/'))";
    let run = internet.run(allowed(1 << 20, 100_000), code);
    assert_eq!(
        String::from_utf8_lossy(&run.stdout),
        "True\n403 the run has used up its bytes\n",
        "{}",
        told(&run)
    );
    let report = run.network.unwrap();
    assert_eq!(report.decisions[0].bytes_down, 100_000);
    assert_eq!((report.decisions[1].why.as_str(), report.is_whole), ("the run has used up its bytes", true));
    let run = internet
        .run(allowed(100_000, 1 << 20), "print(ask('http://good.example/', b'x' * 1_000_000) == '1000000')");
    assert_eq!(run.stdout, b"False\n");
    assert_eq!(run.network.unwrap().decisions[0].bytes_up, 100_000);
    let few = EgressRules { connections_total: 2, ..rules(&["good.example"], &[]) };
    let code = "for host in ('bad', 'good', 'good'): print(ask(f'http://{host}.example/n')[:40])";
    let expected = [
        "403 not on the allow-list",
        "/n of good.example at 93.184.216.34",
        "403 the run has used up its connections",
    ];
    assert_eq!(internet.lines(few, code), expected);
    // What is too long from its first byte is not begun.
    let run = internet.run(allowed(10, 1 << 20), "print(ask('http://good.example/'))");
    assert_eq!(run.stdout, b"403 the run has used up its bytes\n");
    let report = run.network.unwrap();
    assert_eq!((report.allowed, report.bytes_up, report.decisions[0].outcome), (0, 0, Outcome::Refused));
}

#[test]
fn every_decision_is_told_once_and_what_held_the_run_says_egress() {
    let internet = Internet::start();
    let code = "for url in ('http://good.example/', 'http://good.example/', 'http://bad.example/', 'https://private.example/'): ask(url)";
    let run = internet.run(rules(&["good.example", "private.example"], &[]), code);
    let NetworkReport { decisions, left_out, allowed, is_whole, .. } = run.network.unwrap();
    assert_eq!((left_out, allowed, is_whole, run.enforced.network.as_str()), (0, 2, true, "egress"));
    let shown: Vec<_> = decisions
        .iter()
        .map(|Decision { host, port, outcome, why, address, connections, .. }| {
            format!("{host} {port} {outcome:?} {why} {address:?} {connections}")
        })
        .collect();
    let expected = [
        "good.example 80 Allowed good.example Some(93.184.216.34) 2",
        "bad.example 80 Refused not on the allow-list None 1",
        "private.example 443 Refused the address is private Some(10.9.9.9) 1",
    ];
    assert_eq!(shown, expected);
    assert!(decisions[0].bytes_up > 0 && decisions[0].bytes_down > 0);
    let many = internet.run(
        rules(&["good.example"], &[]),
        "for n in range(70): ask(f'http://n{n}.example/')\nask('http://good.example/')",
    );
    let report = many.network.unwrap();
    assert_eq!((report.decisions.len(), report.left_out, report.is_whole), (17, 54, true));
    let last = &report.decisions[16];
    assert_eq!((last.host.as_str(), last.outcome), ("good.example", Outcome::Allowed), "junk hides nothing");
    assert_eq!((report.allowed, report.bytes_up, report.bytes_down), (1, last.bytes_up, last.bytes_down));
}

#[test]
fn what_a_run_has_asked_for_is_told_though_it_ends_before_it_is_answered() {
    let internet = Internet::start();
    // One that nobody answers, one that is connected and says nothing, and then one that proves both were heard.
    let code = "def connect(host):\n    \
                s = socket.create_connection(('127.0.0.1', 3128)); s.sendall(f'CONNECT {host}:443 HTTP/1.1\\r\\n\\r\\n'.encode())\n    \
                return s\n\
                kept = [connect('silent.example'), connect('a.wild.example')]\n\
                print(kept[1].recv(99)[:12], ask('http://bad.example/'))";
    let run = internet.run(rules(&["silent.example", "*.wild.example"], &[]), code);
    assert_eq!(run.stdout, b"b'HTTP/1.1 200' 403 not on the allow-list\n");
    let report = run.network.unwrap();
    assert_eq!((report.allowed, report.left_out, report.is_whole), (0, 0, true));
    let [silent, met, refused] = report.decisions.as_slice() else { panic!("{report:?}") };
    assert_eq!(
        (silent.host.as_str(), silent.outcome, silent.address),
        ("silent.example", Outcome::Asked, None)
    );
    assert_eq!((met.host.as_str(), met.address), ("a.wild.example", Some("93.184.216.34".parse().unwrap())));
    // The proxy may see its end before it is killed.
    assert!(met.outcome == Outcome::Asked || met.why == "the client said nothing", "{met:?}");
    assert_eq!((refused.host.as_str(), refused.outcome), ("bad.example", Outcome::Refused));
}

/// The broker and the proxies: what below a helper is in the network of its host.
fn outside(internet: &Internet) -> Vec<i32> {
    let network = |pid| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let helper = internet.sandbox.helper_pid();
    let own = network(helper);
    let children: Vec<i32> = descendants(helper).into_iter().collect();
    // Neither the helper's network nor one of the stem's: those have no way out.
    let has_way = |pid: &i32| {
        let routes = fs::read_to_string(format!("/proc/{pid}/net/route")).unwrap_or_default();
        network(*pid) != own && routes.lines().count() > 1
    };
    children.into_iter().filter(has_way).collect()
}

#[test]
fn a_proxy_has_nothing_but_its_sockets_and_is_gone_after_the_verdict() {
    let internet = Internet::start();
    let before = outside(&internet);
    assert_eq!(before.len(), 1, "only the broker is outside when nothing runs");
    let (seen, sees) = mpsc::channel();
    let (input, held) = rustix::pipe::pipe().unwrap();
    let code = "import socket, sys; print(1, flush=True); sys.stdin.read(); \
                print(socket.socket().connect_ex(('127.0.0.1', 3128)))";
    let mut request = with(rules(&["good.example"], &[]), python(code));
    request.limits.wall = Duration::from_secs(60);
    request.stdin = Stdin::Inherit(input);
    request.sink = Some(Box::new(move |_, _| seen.send(()).unwrap()));
    std::thread::scope(|scope| {
        let running = scope.spawn(|| internet.sandbox.run(request).unwrap());
        sees.recv().unwrap();
        let proxies: Vec<i32> = outside(&internet).into_iter().filter(|pid| !before.contains(pid)).collect();
        let [proxy] = proxies.as_slice() else { panic!("{proxies:?}") };
        for pid in [*proxy, before[0]] {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let field = |name: &str| {
                status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
            };
            for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
                assert_eq!(field(set), "0000000000000000", "{set}");
            }
            assert_eq!((field("Uid:"), field("NoNewPrivs:")), (["1879049191"; 4].join("\t"), "1".to_owned()));
            assert_eq!(fs::read_dir(format!("/proc/{pid}/root")).unwrap().count(), 0, "an empty root");
            assert!(fs::read(format!("/proc/{pid}/environ")).unwrap().is_empty());
            if pid == *proxy {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
                assert_eq!(stat.split(' ').nth(18), Some("10"), "others come first");
                let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
                let cpu = limits.lines().find(|line| line.starts_with("Max cpu time")).unwrap();
                assert_eq!(cpu.split_whitespace().nth(3), Some("30"), "half of its run's time");
                assert_eq!(field("Seccomp:"), "2");
                assert_eq!(kinds_open_in(pid), ["/memfd:network", "socket:"]);
            }
        }
        // One that dies is a door that is shut.
        kill_process(Pid::from_raw(*proxy).unwrap(), Signal::KILL).unwrap();
        assert!(comes_true(|| outside(&internet) == before));
        drop(held);
        let run = running.join().unwrap();
        assert_eq!(String::from_utf8_lossy(&run.stdout), "1\n111\n", "{}", told(&run));
    });
    internet.run(rules(&["good.example"], &[]), "ask('http://good.example/')");
    internet.sandbox.quiesce(PATIENCE).unwrap();
    assert_eq!(outside(&internet), before);
}

#[test]
fn without_a_proxy_there_is_no_run() {
    let internet = Internet::start();
    let [broker] = outside(&internet)[..] else { panic!("no broker") };
    kill_process(Pid::from_raw(broker).unwrap(), Signal::KILL).unwrap();
    assert!(comes_true(|| outside(&internet).is_empty()));
    let refused = internet.sandbox.run(with(rules(&["good.example"], &[]), python("1")));
    assert!(
        matches!(refused, Err(RunError::Spawn { step: Step::StartProxy | Step::OpenProxy, .. })),
        "{refused:?}"
    );
    let other = Request { network: Network::Loopback, ..python("1") };
    assert_eq!(internet.sandbox.run(other).unwrap().verdict, Verdict::Value);
    // A sandbox that was started without egress has none.
    let egress = Network::Egress(Egress::new(rules(&["good.example"], &[])).unwrap());
    let refused = sandbox().run(Request { network: egress, ..python("1") });
    assert!(matches!(refused, Err(RunError::NoEgress)));
}

#[test]
fn the_weaker_tiers_have_the_same_way_out() {
    for tier in [Tier::JailNoCgroup, Tier::JailSingleUid] {
        let internet = Internet::of_tier(tier, &["10.8.0.0/16"]);
        // What the sandbox was not started with, no rules can open.
        let private = EgressRules { allow_private: true, ..rules(&["good.example"], &["10.0.0.0/8"]) };
        let lines = internet.lines(
            private,
            "for url in ('https://good.example/', 'http://bad.example/', 'http://10.9.9.9/'): print(ask(url))",
        );
        let expected =
            ["/ of good.example at 93.184.216.34", "403 not on the allow-list", "403 the address is private"];
        assert_eq!(lines, expected, "{tier}");
    }
}
