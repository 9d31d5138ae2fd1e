//! A gateway that sells work which a test can hold up, and whoever moves the money: a settler of its own, or a service that
//! says what a test has it say.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use execgate_testkit::chain::{Chain, GAS, PAYER, SELLER};
use execgate_testkit::wallet::Wallet;
use serde_json::{Value, json};

use super::admin::{over, socket};
use super::cashier::{Desk, Settler};
use super::purse::{Asked, Heard, post};
use super::server::{Data, Server, run};

/// What one call costs, in units.
pub(super) const PRICE: u64 = 10_000;

/// What the payer has at the start.
pub(super) const FUNDS: u64 = 10 * PRICE;

/// What has a gateway take USDC of the test network by Permit2.
pub(super) const USDC_BY_PERMIT2: &str = "[[payment.token]]\nnetwork = \"eip155:84532\"\n\
    contract = \"0x036CbD53842c5426634e7929541eC2318f3dCF7e\"\nname = \"USDC\"\nversion = \"2\"\ndecimals = 6\n\
    transfer = \"permit2\"\n";

/// What has the work paid when it is done.
const AFTER: &str = "authorization = [\"work\"]\n";

/// What has an action paid by its usage, settled by the account that pays for gas.
pub(super) fn upto(action: &str) -> String {
    format!(
        "[payment.upto]\nfacilitator = \"{}\"\n[payment.upto.meter]\n{action} = {{ base = \"0.002\", per_second = \"0.1\" }}\n",
        GAS.address
    )
}

/// The longest wait for work to begin.
const PATIENCE: Duration = Duration::from_secs(30);

/// The work: a service that says when it was asked, and answers when it is let go.
pub(super) struct Work {
    port: u16,
    begun: Mutex<Receiver<()>>,
    open: Arc<(Mutex<bool>, Condvar)>,
    starts: Arc<Mutex<usize>>,
}

impl Work {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (begins, begun) = channel();
        let open: Arc<(Mutex<bool>, Condvar)> = Arc::new((Mutex::new(true), Condvar::new()));
        let starts: Arc<Mutex<usize>> = Arc::default();
        let (gate, counted) = (Arc::clone(&open), Arc::clone(&starts));
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let (begins, gate, counted) = (begins.clone(), Arc::clone(&gate), Arc::clone(&counted));
                thread::spawn(move || work(stream, &begins, &gate, &counted));
            }
        });
        Self { port, begun: Mutex::new(begun), open, starts }
    }

    /// Holds up what begins from now on.
    pub(super) fn hold_up(&self) {
        *self.open.0.lock().unwrap() = false;
    }

    /// Lets all of it go on.
    pub(super) fn let_go(&self) {
        *self.open.0.lock().unwrap() = true;
        self.open.1.notify_all();
    }

    /// Waits until some of it has begun.
    pub(super) fn until_begun(&self) {
        self.begun.lock().unwrap().recv_timeout(PATIENCE).expect("the work begins");
    }

    /// How often it was begun.
    pub(super) fn starts(&self) -> usize {
        *self.starts.lock().unwrap()
    }
}

fn work(mut stream: TcpStream, begins: &Sender<()>, gate: &(Mutex<bool>, Condvar), counted: &Mutex<usize>) {
    if read_request(&mut stream).is_none() {
        return;
    }
    *counted.lock().unwrap() += 1;
    begins.send(()).ok();
    drop(gate.1.wait_while(gate.0.lock().unwrap(), |open| !*open).unwrap());
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").ok();
}

/// The text of a request with a body in JSON, if all of it came.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let (mut asked, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&asked).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lines = head.lines().map(str::to_ascii_lowercase);
            let length = lines.filter_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).next();
            if body.len() >= length.unwrap_or(0_usize) {
                return Some(text);
            }
        }
        match stream.read(&mut part) {
            Ok(0) | Err(_) => return None,
            Ok(read) => asked.extend_from_slice(&part[..read]),
        }
    }
}

/// What a service that is to settle does when it is asked for that.
#[derive(Debug, Clone)]
pub(super) enum Says {
    /// This, with that status.
    Told(u16, Value),
    /// It takes the question, and never answers.
    Nothing,
    /// It takes the question, and hangs up.
    HangsUp,
    /// First this, and then that, on one connection.
    Both(Value, Value),
}

/// A service that settles nothing, and says what it is told to.
pub(super) struct Service {
    url: String,
    next: Arc<Mutex<VecDeque<Says>>>,
    settles: Arc<Mutex<Vec<Value>>>,
}

impl Service {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let next: Arc<Mutex<VecDeque<Says>>> = Arc::default();
        let settles: Arc<Mutex<Vec<Value>>> = Arc::default();
        let (said, heard) = (Arc::clone(&next), Arc::clone(&settles));
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let (said, heard) = (Arc::clone(&said), Arc::clone(&heard));
                thread::spawn(move || serve(stream, &said, &heard));
            }
        });
        Self { url, next, settles }
    }

    /// What it says when it is asked to settle next.
    pub(super) fn says(&self, what: Says) {
        self.next.lock().unwrap().push_back(what);
    }

    /// How often it was asked to settle.
    pub(super) fn asked(&self) -> usize {
        self.settles.lock().unwrap().len()
    }
}

/// It verifies all, and supports what is asked for here.
fn serve(mut stream: TcpStream, said: &Mutex<VecDeque<Says>>, heard: &Mutex<Vec<Value>>) {
    let Some(text) = read_request(&mut stream) else { return };
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let kinds = json!([{"x402Version": 2, "scheme": "exact", "network": "eip155:84532"}]);
    let says = match head.split(' ').nth(1).unwrap() {
        "/settle" => {
            heard.lock().unwrap().push(serde_json::from_str(body).unwrap_or_default());
            said.lock().unwrap().pop_front().unwrap_or(Says::HangsUp)
        }
        "/verify" => Says::Told(200, json!({"isValid": true, "payer": PAYER.address})),
        _ => Says::Told(200, json!({"kinds": kinds})),
    };
    match says {
        Says::Told(status, told) => stream.write_all(&answer(status, &told)).unwrap(),
        Says::Both(first, second) => {
            stream.write_all(&[answer(200, &first), answer(200, &second)].concat()).unwrap();
        }
        // Until whoever asked has had enough.
        Says::Nothing => drop(stream.read(&mut [0])),
        Says::HangsUp => drop(stream.shutdown(Shutdown::Both)),
    }
}

fn answer(status: u16, told: &Value) -> Vec<u8> {
    let body = told.to_string();
    let head =
        format!("HTTP/1.1 {status} Told\r\nContent-Type: application/json\r\nContent-Length: {}", body.len());
    format!("{head}\r\n\r\n{body}").into_bytes()
}

/// The gateway. Its payer has money on the chain.
pub(super) struct Shop {
    pub(super) chain: Chain,
    pub(super) work: Work,
    pub(super) server: Server,
    settler: Option<Settler>,
    data: Data,
}

impl Shop {
    /// One whose money is moved by a settler of its own.
    pub(super) fn with_a_settler() -> Self {
        Self::settling(Chain::start(), AFTER, "")
    }

    /// The same, which takes USDC by Permit2, too. Nobody lets that yet.
    pub(super) fn by_permit2() -> Self {
        Self::settling(Chain::with_permit2(), AFTER, USDC_BY_PERMIT2)
    }

    /// The same, where the work is paid by its usage.
    pub(super) fn metered() -> Self {
        let more = format!("{USDC_BY_PERMIT2}{}", upto("work"));
        Self::settling(Chain::with_permit2(), "", &more)
    }

    fn settling(chain: Chain, flow: &str, more: &str) -> Self {
        let data = Data::new();
        let mut desk = Desk::new(&data.path(), &chain);
        let mut shop = Self::open(chain, data, &format!("settler = {:?}\n{flow}", desk.socket()), more);
        shop.settler = Some(desk.start(&shop.data.path()));
        shop
    }

    /// One whose money a service is to move.
    pub(super) fn with(service: &Service) -> Self {
        Self::open(Chain::start(), Data::new(), &format!("facilitator = {:?}\n{AFTER}", service.url), "")
    }

    fn open(chain: Chain, data: Data, settles: &str, more: &str) -> Self {
        chain.fund(PAYER.address, FUNDS);
        let work = Work::start();
        let config = config(data.path().parent().unwrap().join("config.toml"), settles, work.port, more);
        let args = ["--config", config.to_str().unwrap()];
        let server = Server::start_with(&data.path(), &args, &[("PAYMENT_WALLET", SELLER.address)]);
        Self { chain, work, server, settler: None, data }
    }

    /// What a call has to be paid by.
    pub(super) fn ask(&self, path: &str, body: &Value) -> Asked {
        let heard = self.show(path, body, "");
        Asked::read(&heard).unwrap_or_else(|| panic!("{heard:?} asks for nothing"))
    }

    /// A call with these lines in its head.
    pub(super) fn show(&self, path: &str, body: &Value, lines: &str) -> Heard {
        post(self.server.address(), path, body, lines).expect("a whole answer")
    }

    /// The same, from a thread of its own.
    pub(super) fn background(&self, body: &Value, lines: &str) -> JoinHandle<Heard> {
        let (address, body, lines) = (self.server.address(), body.clone(), lines.to_owned());
        thread::spawn(move || post(address, "/execute", &body, &lines).expect("a whole answer"))
    }

    pub(super) fn payer(&self) -> Wallet {
        Wallet::of(PAYER)
    }

    /// What the seller has been paid.
    pub(super) fn paid(&self) -> u64 {
        self.chain.balance(SELLER.address)
    }

    /// What the metrics say.
    pub(super) fn metrics(&self) -> String {
        String::from_utf8(over(&socket(&self.data), "GET /metrics").body).unwrap()
    }

    /// What everybody on this machine sees of its settler.
    pub(super) fn settlers_command_line(&self) -> String {
        let settler = self.settler.as_ref().expect("a settler");
        let line = fs::read(format!("/proc/{}/cmdline", settler.id())).unwrap();
        String::from_utf8(line).unwrap().replace('\0', " ")
    }

    /// The gateway's folder.
    pub(super) fn folder(&self) -> PathBuf {
        self.data.path()
    }

    /// Whether the record holds together.
    pub(super) fn is_sound(&self) -> bool {
        let output = run(&["fsck", "--data-dir", self.data.path().to_str().unwrap()], "");
        println!("{}", String::from_utf8_lossy(&output.stdout));
        output.status.success()
    }
}

/// The work that is sold, under a nonce.
pub(super) fn work_of(nonce: &str) -> Value {
    json!({"action": "work", "payload": {"whom": nonce}, "nonce": nonce})
}

fn config(path: PathBuf, settles: &str, port: u16, more: &str) -> PathBuf {
    let text = format!(
        "[surfaces]\ncode = \"off\"\n[log]\nlevel = \"error\"\n[payment]\nnetworks = [\"eip155:84532\"]\n{settles}\n\
         [payment.prices]\nwork = \"0.01\"\n\
         [[action]]\nname = \"work\"\ndescription = \"Works.\"\nkind = \"http\"\neffect = \"write\"\nmethod = \"POST\"\n\
         url = \"http://127.0.0.1:{port}/to/{{whom}}\"\nallow_private = true\nbody = \"payload\"\n\
         schema = {{ type = \"object\", required = [\"whom\"], additionalProperties = false, \
         properties = {{ whom = {{ type = \"string\" }} }} }}\n{more}"
    );
    fs::write(&path, text).unwrap();
    path
}
