//! What the tests share that kill at random moments: gateways over one record, which are ended and started again, moments that
//! nobody chose, clients that ask meanwhile, and what they heard.

use std::collections::BTreeMap;
use std::env;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::server::{Server, run};

/// Gateways on one data directory.
pub(super) const GATEWAYS: usize = 2;

/// What may happen before a kill, at the most.
const EVENTS_MAX: u64 = 24;

/// How often a service was called, by whom it was told of.
pub(super) type Hits = Arc<Mutex<BTreeMap<String, usize>>>;

/// A stream of numbers (splitmix64).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(super) fn place(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(u64::try_from(bound).unwrap())).unwrap()
    }

    /// Waits for a moment that nobody chose: some events, each no longer than so many microseconds.
    pub(super) fn moment(&mut self, events: &Receiver<()>, longest_us: u64) {
        events.try_iter().for_each(drop);
        for _ in 0..self.below(EVENTS_MAX) {
            events.recv_timeout(Duration::from_micros(self.below(longest_us))).ok();
        }
    }
}

/// A number that a soak, or a person, says; else the usual one.
pub(super) fn number(name: &str, usual: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a soak says how often, and a person which seed")]
    let said = env::var(name).ok();
    said.map_or(usual, |said| said.parse().unwrap())
}

/// What a client is told once and for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// What all clients share.
pub(super) struct Crowd {
    pub(super) addresses: Mutex<Vec<SocketAddr>>,
    pub(super) heard: Mutex<BTreeMap<String, Told>>,
    pub(super) answers: AtomicUsize,
    pub(super) faults: Mutex<Vec<String>>,
    pub(super) hits: Hits,
    begun: AtomicUsize,
    allowed: AtomicUsize,
    over: AtomicBool,
}

impl Crowd {
    /// One that may begin so many things by itself.
    pub(super) fn new(allowed: usize, hits: Hits) -> Self {
        Self {
            addresses: Mutex::new(vec![SocketAddr::from(([127, 0, 0, 1], 1)); GATEWAYS]),
            heard: Mutex::default(),
            answers: AtomicUsize::new(0),
            faults: Mutex::default(),
            hits,
            begun: AtomicUsize::new(1),
            allowed: AtomicUsize::new(allowed),
            over: AtomicBool::new(false),
        }
    }

    pub(super) fn fault(&self, what: String) {
        self.faults.lock().unwrap().push(what);
    }

    /// How many things were begun.
    pub(super) fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    /// Up to how many may be begun.
    pub(super) fn allowed(&self) -> usize {
        self.allowed.load(Ordering::SeqCst)
    }

    /// Lets more be begun; up to how many then.
    pub(super) fn allow(&self, more: usize) -> usize {
        self.allowed.fetch_add(more, Ordering::SeqCst) + more
    }

    /// One of the newest things, or a new one.
    fn pick(&self, dice: &mut Dice, window: usize) -> usize {
        let newest = self.begun();
        if newest < self.allowed() && dice.below(3) == 0 {
            return self.begun.fetch_add(1, Ordering::SeqCst);
        }
        newest.saturating_sub(1 + dice.place(window))
    }

    /// Takes note of an answer. The same name, the same answer, for ever.
    pub(super) fn hear(&self, name: &str, told: Told) {
        self.answers.fetch_add(1, Ordering::SeqCst);
        if let Some(first) = self.heard.lock().unwrap().insert(name.to_owned(), told.clone())
            && first != told
        {
            self.fault(format!("{name} was answered {first:?} and then {told:?}"));
        }
    }

    /// How often each was started.
    pub(super) fn hits(&self) -> BTreeMap<String, usize> {
        self.hits.lock().unwrap().clone()
    }

    /// How many have an answer of this status.
    pub(super) fn heard_as(&self, status: u16) -> usize {
        self.heard.lock().unwrap().values().filter(|told| told.status == status).count()
    }

    /// Holds what `execgate fsck` says of the record against what is expected of it.
    pub(super) fn expect(&self, told: &Value, expected: &[(&str, usize)]) {
        for (name, expected) in expected {
            if told[name] != *expected {
                self.fault(format!("the record has {} {name}, and {expected} were heard of", told[name]));
            }
        }
    }

    /// Has clients ask for one of the newest things at either gateway, again and again, as long as `siege` goes on.
    pub(super) fn ask_during(
        &self,
        clients: Clients<'_>,
        ask: impl Fn(SocketAddr, usize, &mut Dice) + Sync,
        siege: impl FnOnce(),
    ) {
        let Clients { count, window, seed, events } = clients;
        thread::scope(|scope| {
            for client in 0..count {
                let (ask, events) = (&ask, events.clone());
                let mut dice = Dice(seed ^ u64::try_from(client + 1).unwrap());
                scope.spawn(move || {
                    while !self.over.load(Ordering::SeqCst) {
                        let what = self.pick(&mut dice, window);
                        let address = self.addresses.lock().unwrap()[dice.place(GATEWAYS)];
                        events.send(()).ok();
                        ask(address, what, &mut dice);
                        events.send(()).ok();
                    }
                });
            }
            siege();
            self.over.store(true, Ordering::SeqCst);
        });
    }
}

/// Who asks.
pub(super) struct Clients<'e> {
    /// How many.
    pub(super) count: usize,
    /// How many of the newest things they ask for.
    pub(super) window: usize,
    pub(super) seed: u64,
    /// Where they tell that something happened.
    pub(super) events: &'e Sender<()>,
}

/// The gateways.
pub(super) struct Gateways {
    pub(super) data: PathBuf,
    config: String,
    environment: Vec<(&'static str, &'static str)>,
    servers: Vec<Option<Server>>,
    /// How long all starts took.
    pub(super) starts: Duration,
}

impl Gateways {
    /// All of them, started.
    pub(super) fn start_all(
        data: PathBuf,
        config: String,
        environment: &[(&'static str, &'static str)],
        crowd: &Crowd,
    ) -> Self {
        let servers = (0..GATEWAYS).map(|_| None).collect();
        let environment = environment.to_vec();
        let mut gateways = Self { data, config, environment, servers, starts: Duration::ZERO };
        for at in 0..GATEWAYS {
            gateways.start(at, crowd);
        }
        gateways
    }

    pub(super) fn start(&mut self, at: usize, crowd: &Crowd) {
        let begun = Instant::now();
        let server = Server::start_with(&self.data, &["--config", &self.config], &self.environment);
        crowd.addresses.lock().unwrap()[at] = server.address();
        self.servers[at] = Some(server);
        self.starts += begun.elapsed();
    }

    pub(super) fn kill(&mut self, at: usize) {
        if let Some(server) = self.servers[at].take() {
            server.kill();
        }
    }

    /// Kills all, and starts the first: where it is.
    pub(super) fn leave_one(&mut self, crowd: &Crowd) -> SocketAddr {
        for at in 0..GATEWAYS {
            self.kill(at);
        }
        self.start(0, crowd);
        crowd.addresses.lock().unwrap()[0]
    }

    /// What `execgate fsck` says.
    pub(super) fn check(&self, crowd: &Crowd, when: &str) -> Value {
        let output = run(&["fsck", "--json", "--data-dir", self.data.to_str().unwrap()], "");
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if output.status.code() != Some(0) {
            crowd.fault(format!("{when}: {told} {}", String::from_utf8_lossy(&output.stderr)));
        }
        told
    }
}

/// An action of the configuration that tells a [`service`] of somebody.
pub(super) fn notifier(name: &str, port: u16) -> String {
    format!(
        "[[action]]\nname = \"{name}\"\ndescription = \"Notifies.\"\n\
         kind = \"http\"\neffect = \"write\"\nmethod = \"POST\"\nurl = \"http://127.0.0.1:{port}/to/{{whom}}\"\n\
         allow_private = true\nbody = \"payload\"\nschema = {{ type = \"object\", required = [\"whom\"], \
         additionalProperties = false, properties = {{ whom = {{ type = \"string\" }} }} }}\n"
    )
}

/// A service that counts who was told to it.
pub(super) fn service(hits: Hits, events: Sender<()>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let (hits, events) = (Arc::clone(&hits), events.clone());
            thread::spawn(move || {
                let mut asked = Vec::new();
                let mut part = [0; 4096];
                while !asked.ends_with(b"}") {
                    match stream.read(&mut part) {
                        // Its gateway was killed before it had said everything.
                        Ok(0) | Err(_) => return,
                        Ok(read) => asked.extend_from_slice(&part[..read]),
                    }
                }
                let asked = String::from_utf8(asked).unwrap();
                let whom = asked.split_once("/to/").and_then(|(_, rest)| rest.split_once(' ')).unwrap().0;
                *hits.lock().unwrap().entry(whom.to_owned()).or_default() += 1;
                events.send(()).ok();
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
                stream.write_all(answer.as_bytes()).ok();
            });
        }
    });
    port
}
