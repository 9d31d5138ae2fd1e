//! What runs could have in common because one process was the parent of all: random numbers, keys, names, state.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::thread;

use execgate_sandbox::{PlacedFile, Request, Sandbox, Verdict};

use super::super::world::{attacked, bash, python, sandbox, told, value_in};

/// How many runs draw. Where each is executed anew there is no parent to share, and a start costs more.
const CHILDREN: usize = if crate::RESIDENTS == 0 { 16 } else { 64 };

/// How many draw at a time.
const LANES: usize = 4;

/// Runs the same code in many children, several at a time; what each printed, line by line.
fn drawn(sandbox: &Sandbox, children: usize, request: impl Fn() -> Request + Sync) -> Vec<Vec<String>> {
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES)
            .map(|_| {
                scope.spawn(|| {
                    let one = |_| {
                        let run = sandbox.run(request()).unwrap();
                        assert_eq!(run.verdict, Verdict::Value, "{}", told(&run));
                        let text = String::from_utf8(run.stdout).unwrap();
                        text.lines().map(str::to_owned).collect::<Vec<_>>()
                    };
                    (0..children / LANES).map(one).collect::<Vec<_>>()
                })
            })
            .collect();
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    })
}

/// Every line is a source, and no two children may tell the same of one; nor one child of two.
fn all_differ(drawn: &[Vec<String>], sources: usize) {
    let all: BTreeSet<&String> = drawn.iter().flatten().collect();
    assert!(drawn.iter().all(|lines| lines.len() == sources), "{:?}", drawn.first());
    assert_eq!(all.len(), drawn.len() * sources, "{drawn:?}");
}

/// The random numbers of a greeting and the key that was made for it, as TLS 1.3 sends them.
const TLS: &str = "import ssl\n\
    def hello():\n    out = ssl.MemoryBIO()\n    context = ssl.create_default_context()\n    \
    peer = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname='x')\n    \
    try: peer.do_handshake()\n    except ssl.SSLWantReadError: pass\n    sent = out.read()\n    \
    at = sent.index(b'\\x00\\x1d\\x00\\x20', 43)\n    return sent[11:43].hex(), sent[44:76].hex(), sent[at + 4:at + 36].hex()\n";

#[test]
fn no_two_pythons_draw_the_same() {
    let code = format!(
        "import os, random, secrets, tempfile, uuid\n{TLS}\
         for drawn in (os.urandom(16), random.random(), random.SystemRandom().random(), random.Random().random(), \
         random.getrandbits(128), secrets.token_hex(), uuid.uuid1(), uuid.uuid4(), tempfile.mktemp(), \
         tempfile.mkdtemp(), ssl.RAND_bytes(16), *hello()): print(drawn)\n\
         import numpy\nfor drawn in (numpy.random.random(), numpy.random.default_rng().random(), \
         numpy.random.RandomState().random()): print(drawn)"
    );
    all_differ(&drawn(&attacked(), CHILDREN, || python(&code)), 17);
}

#[test]
fn no_two_shells_draw_the_same() {
    let code = "echo $RANDOM-$RANDOM-$RANDOM-$RANDOM; echo s$SRANDOM$SRANDOM; mktemp -u; head -c 16 /dev/urandom | od -An -tx1; shuf -i 1-1000000000 -n 4 | tr '\\n' ' '";
    all_differ(&drawn(&sandbox(), CHILDREN, || bash(code)), 5);
}

#[test]
fn no_two_keys_are_made_the_same() {
    let sandbox = sandbox();
    let code = "openssl genpkey -algorithm ed25519 | sed -n 2p; openssl rand -hex 16";
    all_differ(&drawn(&sandbox, CHILDREN / 2, || bash(code)), 2);
    let code = "const c = require('node:crypto');\n\
                const pair = c.generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' });\n\
                for (const drawn of [pair.x, c.randomBytes(16).toString('hex'), c.randomUUID(), Math.random(), \
                c.webcrypto.getRandomValues(new Uint8Array(16)), c.randomInt(2 ** 47)]) console.log(String(drawn));";
    all_differ(&drawn(&sandbox, CHILDREN / 4, || Request::new("javascript", code)), 6);
}

#[test]
fn no_two_programs_with_a_library_of_their_own_draw_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("drawn");
    #[expect(clippy::disallowed_methods, reason = "the compiler makes the program that is run in the jail")]
    let compiled = Command::new("cc")
        .args(["-static", "-O1", "-o"])
        .arg(&program)
        .args([concat!(env!("CARGO_MANIFEST_DIR"), "/attacks/drawn.c"), "-lcrypto"])
        .output()
        .unwrap();
    assert!(program.exists(), "libssl-dev is needed: {}", String::from_utf8_lossy(&compiled.stderr));
    let content = fs::read(program).unwrap();
    let sandbox = sandbox();
    // A key, and random numbers before a fork and on its both sides.
    let request = || {
        let mut request = bash("chmod +x drawn; ./drawn");
        request.files = vec![PlacedFile::new("drawn", content.clone()).unwrap()];
        request
    };
    all_differ(&drawn(&sandbox, CHILDREN, request), 4);
}

#[test]
fn no_two_rs_draw_the_same() {
    let code = "cat(runif(1), rnorm(1), sample.int(1e9, 1), tempfile(), sep = '\\n')";
    let drawn: Vec<Vec<String>> = drawn(&sandbox(), 8, || Request::new("r", code));
    all_differ(&drawn, 4);
}

#[test]
fn what_one_run_changes_in_its_interpreter_no_other_sees() {
    let sandbox = attacked();
    let change = "import builtins, gc, json, locale, os, random, signal, sys, warnings, decimal, threading\n\
                  builtins.print = len; json.dumps = None; sys.modules['math'] = None; sys.path.insert(0, '/tmp')\n\
                  random.seed(1); os.getcwd = None; sys.setrecursionlimit(99999); gc.disable(); sys.stdin = None\n\
                  decimal.getcontext().prec = 3; warnings.simplefilter('error'); signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
                  signal.pthread_sigmask(signal.SIG_BLOCK, [10]); os.umask(0o777); os.nice(5); sys.setswitchinterval(9)\n\
                  threading.settrace(len); sys.excepthook = None; os.environ['PATH'] = '/tmp'; sys.meta_path.clear()\n\
                  open('/tmp/json.py', 'w').write('dumps = None')\n1";
    let look = "import builtins, decimal, gc, json, math, os, random, signal, sys\n\
                [builtins.print.__name__, json.dumps([1]), math.pi > 3, sys.path.count('/tmp'), os.getcwd(), sys.getrecursionlimit(), \
                gc.isenabled(), sys.stdin is None, decimal.getcontext().prec, signal.getsignal(signal.SIGTERM).name, \
                signal.pthread_sigmask(signal.SIG_BLOCK, []), os.umask(0), os.nice(0), sys.getswitchinterval(), \
                sys.excepthook is None, os.environ['PATH'], len(sys.meta_path) > 0, random.random() != 0.13436424411240122, os.listdir('/tmp')]";
    let expected = "['print', '[1]', True, 0, '/home/user', 1000, True, False, 28, 'SIG_DFL', set(), 18, 0, 0.005, False, \
                    '/usr/local/bin:/usr/bin:/bin', True, True, []]";
    for _ in 0..6 {
        assert_eq!(value_in(&sandbox, change), "1");
        assert_eq!(value_in(&sandbox, look), expected);
    }
}
