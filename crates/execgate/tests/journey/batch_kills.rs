//! Paid batches and `kill -9`: a gateway that dies between the calls of one, on a real chain. The same batch with the same
//! payment goes on; nothing of it starts twice, and it is charged once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use execgate_testkit::chain::{Chain, PAYER, SELLER};
use execgate_testkit::wallet::Wallet;
use serde_json::{Value, json};

use super::cashier::Desk;
use super::purse::{Asked, post};
use super::server::{Data, Server, run};
use super::siege::service;

/// Calls of one batch.
const CALLS: usize = 8;

/// What one batch costs, in units: eight calls for real.
const PRICE: u64 = 400_000;

/// Behind which call of its batch each gateway is killed.
const KILLED_BEHIND: [usize; 3] = [1, 2, 5];

/// The longest wait for a call to begin.
const PATIENCE: Duration = Duration::from_secs(30);

fn config(folder: &Path, port: u16, socket: &Path) -> PathBuf {
    let path = folder.join("config.toml");
    let text = format!(
        "[surfaces]\ncode = \"off\"\n[log]\nlevel = \"error\"\n[payment]\nnetworks = [\"eip155:84532\"]\nsettler = {socket:?}\n\
         [[action]]\nname = \"notify\"\ntool = true\ndescription = \"Notifies.\"\n\
         kind = \"http\"\neffect = \"write\"\nmethod = \"POST\"\nurl = \"http://127.0.0.1:{port}/to/{{whom}}\"\n\
         allow_private = true\nbody = \"payload\"\nschema = {{ type = \"object\", required = [\"whom\"], \
         additionalProperties = false, properties = {{ whom = {{ type = \"string\" }} }} }}\n"
    );
    fs::write(&path, text).unwrap();
    path
}

fn batch(number: usize) -> Value {
    let call = |at: usize| json!({"tool": {"name": "notify", "args": {"whom": format!("b{number}-{at}")}}});
    json!({"dryRun": false, "calls": (0..CALLS).map(call).collect::<Vec<_>>()})
}

/// Kills a gateway behind some calls of its batch, and gives what shows the payment of that.
fn killed_behind(calls: usize, number: usize, server: Server, begun: &Receiver<()>) -> String {
    let (address, body) = (server.address(), batch(number));
    let asked = post(address, "/exec/batch", &body, "").unwrap();
    let asked = Asked::read(&asked).unwrap();
    assert!(asked.is_upfront());
    let form = asked.by_two(&asked.signed(&Wallet::of(PAYER)));
    let shown = form.clone();
    let cut_off = thread::spawn(move || post(address, "/exec/batch", &body, &shown));
    for _ in 0..calls {
        begun.recv_timeout(PATIENCE).expect("a call begins");
    }
    server.kill();
    cut_off.join().unwrap();
    form
}

#[test]
fn a_paid_batch_whose_gateway_is_killed_goes_on_and_is_charged_once() {
    let (folder, chain) = (Data::new(), Chain::start());
    let data = folder.path();
    let (sender, begun) = channel();
    let hits: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let port = service(Arc::clone(&hits), sender);
    let mut desk = Desk::new(&data, &chain);
    let config = config(data.parent().unwrap(), port, &desk.socket());
    let args = ["--config", config.to_str().unwrap()];
    let start = || Server::start_with(&data, &args, &[("PAYMENT_WALLET", SELLER.address)]);
    chain.fund(PAYER.address, 10 * PRICE);
    let mut server = start();
    let _settler = desk.start(&data);
    let mut paid = 0;
    for (number, calls) in KILLED_BEHIND.into_iter().enumerate() {
        let form = killed_behind(calls, number, server, &begun);
        server = start();
        let told = post(server.address(), "/exec/batch", &batch(number), &form).unwrap();
        let again = post(server.address(), "/exec/batch", &batch(number), &form).unwrap();
        assert_eq!((told.status, again.status), (200, 200), "{}", String::from_utf8_lossy(&told.body));
        // One payment, whatever was shown again.
        paid += PRICE;
        assert_eq!((chain.balance(SELLER.address), chain.transfers().len()), (paid, number + 1));
        let started: Vec<_> = (0..CALLS)
            .map(|at| hits.lock().unwrap().get(&format!("b{number}-{at}")).copied().unwrap_or_default())
            .collect();
        assert!(started.iter().all(|times| *times <= 1) && started.iter().sum::<usize>() >= calls);
        // It is answered to its end, or to the call whose end is lost: behind that one none was started.
        let results = told.json()["results"].as_array().unwrap().len();
        assert!(results >= calls && started[results..].iter().all(|times| *times == 0), "{started:?}");
        assert_eq!(again.json()["results"].as_array().unwrap().len(), results);
        begun.try_iter().for_each(drop);
    }
    assert_eq!(server.end(), Some(0));
    let told = |command: &str, more: &[&str]| -> Value {
        let args = [&[command, "--json", "--data-dir", data.to_str().unwrap()], more].concat();
        let output = run(&args, "");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    assert_eq!(told("fsck", &[])["held"], 0);
    let revenue = told("revenue", &["--by", "action"]);
    let row = &revenue["rows"][0];
    assert_eq!(
        (&row["action"], &row["payments"]),
        (&json!("batch"), &json!(KILLED_BEHIND.len())),
        "{revenue}"
    );
}
