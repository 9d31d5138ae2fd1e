//! An Ethereum node of a test's own, with the token that payments are made in at the address that clients know.
//!
//! The node is `anvil`, which `cargo xtask setup` fetches; it imitates Base Sepolia (`eip155:84532`). A block is mined with
//! every transaction until a test says otherwise. Accounts and money come from nowhere. Everything here asks the node
//! itself, past the gateway: what a test believes of money it reads here.

use core::fmt;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use execgate_payment::evm::{
    Authorization, EXACT_PROXY, Means, PERMIT2, Signature, UPTO_PROXY, from_hex, keccak256, to_hex,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Where the node is in the folder of the tools; `cargo xtask setup` puts it there.
const ANVIL: &str = "tools/anvil-1.7.1/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil";

/// The code of [`Coin::Usdc`], made by `chain/compile.cjs`.
const TOKEN_CODE: &str = include_str!("../chain/token.hex");

/// The code of [`Coin::Lenient`], likewise.
const LENIENT_CODE: &str = include_str!("../chain/lenient.hex");

/// The code of stand-ins of the proxies that x402 has before Permit2, likewise: those of its makers are in no package.
const EXACT_CODE: &str = include_str!("../chain/exact.hex");
const UPTO_CODE: &str = include_str!("../chain/upto.hex");

/// The longest that the node thinks about a question; it answers within milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// `keccak256("Transfer(address,address,uint256)")`
const TRANSFER_TOPIC: &str = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";

/// The fifth account of the public mnemonic, which nothing else uses: it pays for what a test does to the chain.
const TESTER: &str = "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65";

/// Behind so many blocks the node says that one is final: two epochs.
const FINAL_AFTER: u64 = 65;

/// Enough gas for any call of the token, or of Permit2; a given amount spares the node its own trial, which a call that is refused fails.
const GAS_MAX: &str = "0x493e0";

/// An account of the public mnemonic of development nodes: it has ether from the start, and no tokens.
#[derive(Debug, Clone, Copy)]
pub struct Account {
    /// Its address, EIP-55.
    pub address: &'static str,
    /// Its secret key, hexadecimal. The whole world knows it.
    pub key: &'static str,
}

/// Who pays, in most tests.
pub const PAYER: Account = Account {
    address: "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
    key: "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
};

/// Who sells, in most tests.
pub const SELLER: Account = Account {
    address: "0x90F79bf6EB2c4f870365E785982E1f101E93b906",
    key: "0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
};

/// Whose ether pays for settlements.
pub const GAS: Account = Account {
    address: "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
    key: "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
};

/// The chain that the node says it is: Base Sepolia.
pub const CHAIN_ID: u64 = 84_532;

/// Where USDC is on that chain.
pub const USDC: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";

/// Which token is at [`USDC`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coin {
    /// One that refuses a nonce which is used, as USDC does.
    Usdc,
    /// One that takes such a transaction, says so in an event, and moves nothing, as some tokens do.
    Lenient,
}

/// Tokens that moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The transaction, `0x` and hexadecimal.
    pub transaction: String,
    /// From whom, in lower case.
    pub from: String,
    /// To whom, in lower case.
    pub to: String,
    /// How much, in the token's units.
    pub value: u64,
}

/// A node. Dropping it ends it.
pub struct Chain {
    child: Child,
    address: SocketAddr,
    /// Where it writes blocks down that it keeps no more: gone with it.
    _home: TempDir,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Chain {
    /// A node on a free port of the loopback, with [`Coin::Usdc`] at its address and nobody who has any.
    ///
    /// # Panics
    /// If there is no anvil, or it does not start.
    #[must_use]
    pub fn start() -> Self {
        let chain_id = CHAIN_ID.to_string();
        // A chain's clock stands until its next block: it starts in the past, so that what is signed now holds there.
        let chain = Self::run(&[
            "--hardfork",
            "prague",
            "--chain-id",
            &chain_id,
            "--timestamp",
            &now_s().to_string(),
        ]);
        chain.put(Coin::Usdc);
        chain
    }

    /// The same with Permit2, whose real code the node's makers ship for another network, and with stand-ins of x402's proxies
    /// before it.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn with_permit2() -> Self {
        let chain = Self::start();
        let real = Self::run(&["--network", "tempo"]).rpc("eth_getCode", &json!([PERMIT2, "latest"]));
        assert!(real.as_str().is_some_and(|code| code.len() > 10_000), "the node has no Permit2");
        chain.rpc("anvil_setCode", &json!([PERMIT2, real]));
        for (proxy, code) in [(EXACT_PROXY, EXACT_CODE), (UPTO_PROXY, UPTO_CODE)] {
            chain.rpc("anvil_setCode", &json!([proxy, format!("0x{}", code.trim())]));
        }
        chain
    }

    fn run(args: &[&str]) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the node is a program")]
        let mut command = Command::new(anvil());
        command.args(["--host", "127.0.0.1", "--port", "0", "--threads", "1"]).args(args);
        let home = tempfile::tempdir().expect("a folder can be made");
        command.env_clear().env("HOME", home.path());
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the node can be started");
        let mut said = BufReader::new(child.stdout.take().expect("its output is piped"));
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert_ne!(said.read_line(&mut line).unwrap_or(0), 0, "the node ended before it listened");
            if let Some(address) = line.trim().strip_prefix("Listening on ") {
                break address.parse().expect("the node says where it listens");
            }
        };
        // It goes on to tell of every request: somebody has to listen.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self { child, address, _home: home }
    }

    /// Where it answers JSON-RPC.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Puts a token at [`USDC`]; balances and used nonces stay.
    pub fn put(&self, coin: Coin) {
        let code = match coin {
            Coin::Usdc => TOKEN_CODE,
            Coin::Lenient => LENIENT_CODE,
        };
        self.rpc("anvil_setCode", &json!([USDC, format!("0x{}", code.trim())]));
    }

    /// Gives somebody tokens.
    pub fn fund(&self, who: &str, units: u64) {
        self.send("mint(address,uint256)", &[word_of(who), format!("{units:064x}")]);
    }

    /// Takes all tokens away from somebody, as one who empties a wallet does.
    ///
    /// # Panics
    /// If the node does not do it.
    pub fn empty(&self, who: &str) {
        let units = self.balance(who);
        self.by(who, USDC, "transfer(address,uint256)", &[word_of(TESTER), format!("{units:064x}")]);
    }

    /// Somebody calls a contract, whose key the node does not have.
    fn by(&self, who: &str, contract: &str, function: &str, words: &[String]) {
        self.rpc("anvil_impersonateAccount", &json!([who]));
        self.rpc("anvil_setBalance", &json!([who, "0xde0b6b3a7640000"]));
        self.send_from(who, contract, function, words);
    }

    /// How many tokens somebody has.
    ///
    /// # Panics
    /// If that is more than a `u64`.
    #[must_use]
    pub fn balance(&self, who: &str) -> u64 {
        small(&self.ask("balanceOf(address)", &[word_of(who)]))
    }

    /// Whether an authorization's nonce is used or cancelled.
    #[must_use]
    pub fn is_used(&self, payer: &str, nonce: &[u8; 32]) -> bool {
        small(&self.ask("authorizationState(address,bytes32)", &[word_of(payer), word(nonce)])) == 1
    }

    /// Whether the nonce of an authorization is used or taken back, where it is kept: by its token, or by Permit2.
    #[must_use]
    pub fn has_used(&self, authorization: &Authorization) -> bool {
        let (payer, nonce) = (authorization.from.to_string(), authorization.nonce);
        if authorization.by.is_token() {
            return self.is_used(&payer, &nonce);
        }
        let mut at = [0; 32];
        at[1..].copy_from_slice(&nonce[..31]);
        let data = call("nonceBitmap(address,uint256)", &[word_of(&payer), word(&at)]);
        let seen = self.rpc("eth_call", &json!([{"to": PERMIT2, "data": data}, "latest"]));
        let seen = from_hex(seen.as_str().expect("a word is a text"), 32).expect("a word has 32 bytes");
        seen[31 - usize::from(nonce[31] / 8)] >> (nonce[31] % 8) & 1 == 1
    }

    /// The chain's clock at its newest block, in seconds.
    #[must_use]
    pub fn now_s(&self) -> u64 {
        small(&self.rpc("eth_getBlockByNumber", &json!(["latest", false]))["timestamp"])
    }

    /// A holder of tokens lets Permit2 move so many of them.
    pub fn lets(&self, who: &str, units: u64) {
        self.by(who, USDC, "approve(address,uint256)", &[word(&PERMIT2.to_word()), format!("{units:064x}")]);
    }

    /// A payer takes back a nonce of Permit2.
    pub fn invalidate(&self, payer: &str, nonce: &[u8; 32]) {
        let (mut at, mut mask) = ([0; 32], [0; 32]);
        at[1..].copy_from_slice(&nonce[..31]);
        mask[31 - usize::from(nonce[31] / 8)] = 1 << (nonce[31] % 8);
        let words = [word(&at), word(&mask)];
        self.by(payer, &PERMIT2.to_string(), "invalidateUnorderedNonces(uint256,uint256)", &words);
    }

    /// Somebody else has a transfer happen. A token that refuses it is no fault here.
    pub fn submit(&self, authorization: &Authorization) {
        if !authorization.by.is_token() {
            self.settle(TESTER, authorization);
            return;
        }
        let Authorization { from, to, value, valid_after, valid_before, nonce, .. } = authorization;
        let start = [from.to_word(), to.to_word()];
        let rest = [*value.as_bytes(), *valid_after.as_bytes(), *valid_before.as_bytes(), *nonce];
        let mut words: Vec<String> = start.iter().chain(&rest).map(word).collect();
        words.extend(signed(&authorization.signature));
        let form = "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)";
        self.send(form, &words);
    }

    /// Somebody asks a proxy to settle. One that refuses it is no fault here.
    ///
    /// # Panics
    /// If no proxy settles it.
    pub fn settle(&self, who: &str, authorization: &Authorization) {
        let proxy = authorization.by.proxy().expect("a proxy settles").to_string();
        self.ask_to_settle(who, &proxy, authorization);
    }

    /// The same by way of another contract, which hands on what it is told.
    pub fn settle_by(&self, contract: &str, authorization: &Authorization) {
        self.ask_to_settle(TESTER, contract, authorization);
    }

    fn ask_to_settle(&self, who: &str, contract: &str, authorization: &Authorization) {
        let Authorization { token, from, to, value, valid_after, valid_before, nonce, by, signature } =
            authorization;
        let permit = [token.contract.to_word(), *value.as_bytes(), *nonce, *valid_before.as_bytes()];
        let mut words: Vec<String> = permit.iter().map(word).collect();
        let form = match by {
            Means::UpTo { facilitator, .. } => {
                let of_payer = [*authorization.moved().as_bytes(), from.to_word(), to.to_word()];
                words.extend(of_payer.iter().map(word));
                words.push(word(&facilitator.to_word()));
                "settle(((address,uint256),uint256,uint256),uint256,address,(address,address,uint256),bytes)"
            }
            Means::Token | Means::Permit2 => {
                words.extend([from.to_word(), to.to_word()].iter().map(word));
                "settle(((address,uint256),uint256,uint256),address,(address,uint256),bytes)"
            }
        };
        words.push(word(valid_after.as_bytes()));
        words.push(format!("{:064x}", 32 * (words.len() + 1)));
        words.push(format!("{:064x}", 65));
        words.push(format!("{:0<192}", to_hex(signature.as_bytes()).split_off(2)));
        self.send_from(who, contract, form, &words);
    }

    /// A payer takes a nonce back.
    pub fn cancel(&self, payer: &str, nonce: &[u8; 32], signature: &Signature) {
        let mut words = vec![word_of(payer), word(nonce)];
        words.extend(signed(signature));
        self.send("cancelAuthorization(address,bytes32,uint8,bytes32,bytes32)", &words);
    }

    /// Sets how much ether somebody has, in wei.
    pub fn set_gas(&self, who: &str, wei: u64) {
        self.rpc("anvil_setBalance", &json!([who, format!("{wei:#x}")]));
    }

    /// How many transactions of somebody are in blocks.
    #[must_use]
    pub fn nonce(&self, who: &str) -> u64 {
        small(&self.rpc("eth_getTransactionCount", &json!([who, "latest"])))
    }

    /// Whether a block is mined with every transaction. Where not, [`Self::mine`] mines.
    pub fn mine_at_once(&self, at_once: bool) {
        self.rpc("evm_setAutomine", &json!([at_once]));
    }

    /// Mines so many blocks.
    pub fn mine(&self, blocks: u64) {
        self.rpc("anvil_mine", &json!([format!("{blocks:#x}")]));
    }

    /// Takes back the newest blocks, so many, and puts empty ones in their place: what was in them is in no block, and waits for
    /// none.
    pub fn take_back(&self, blocks: u64) {
        self.rpc("anvil_reorg", &json!([blocks, []]));
    }

    /// Mines so many blocks that all before them are final, as the node tells it.
    pub fn finalize(&self) {
        self.mine(FINAL_AFTER);
    }

    /// How many transactions wait for a block.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        small(&self.rpc("txpool_status", &json!([]))["pending"])
    }

    /// Forgets a transaction that waits for a block.
    pub fn forget(&self, transaction: &str) {
        self.rpc("anvil_dropTransaction", &json!([transaction]));
    }

    /// What a transaction must offer for each unit of gas, in wei, from the next block on.
    pub fn set_base_fee(&self, wei: u64) {
        self.rpc("anvil_setNextBlockBaseFeePerGas", &json!([format!("{wei:#x}")]));
    }

    /// Moves the clock of the chain on, and mines a block.
    pub fn advance(&self, seconds: u64) {
        self.rpc("evm_increaseTime", &json!([seconds]));
        self.mine(1);
    }

    /// Every movement of tokens between accounts, oldest first; what came from nowhere is none.
    ///
    /// # Panics
    /// If the node answers something else than logs.
    #[must_use]
    pub fn transfers(&self) -> Vec<Transfer> {
        let filter = json!([{"address": USDC, "fromBlock": "0x0", "topics": [TRANSFER_TOPIC]}]);
        let logs = self.rpc("eth_getLogs", &filter);
        let account = |topic: &Value| format!("0x{}", &topic.as_str().expect("a topic is a text")[26..]);
        let transfer = |log: &Value| Transfer {
            transaction: log["transactionHash"].as_str().expect("a log names its transaction").to_owned(),
            from: account(&log["topics"][1]),
            to: account(&log["topics"][2]),
            value: small(&log["data"]),
        };
        let moved = logs.as_array().expect("logs are a list").iter().map(transfer);
        moved.filter(|transfer| !transfer.from.trim_start_matches(['0', 'x']).is_empty()).collect()
    }

    /// Stops the node where it stands: who asks it waits.
    pub fn hang(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a child has an id");
        kill_process(pid, signal).expect("the node lives");
    }

    /// Asks the node.
    ///
    /// # Panics
    /// If it does not answer, or answers with an error.
    pub fn rpc(&self, method: &str, params: &Value) -> Value {
        let question = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let answer = exchange(self.address, &question);
        let answer: Value = serde_json::from_str(&answer).expect("the node answers JSON");
        assert_eq!(answer.get("error"), None, "{method} {params}");
        answer["result"].clone()
    }

    fn ask(&self, function: &str, words: &[String]) -> Value {
        self.rpc("eth_call", &json!([{"to": USDC, "data": call(function, words)}, "latest"]))
    }

    fn send(&self, function: &str, words: &[String]) {
        self.send_from(TESTER, USDC, function, words);
    }

    /// Sends, and has it in a block before it returns, with whatever else waits for one.
    fn send_from(&self, who: &str, contract: &str, function: &str, words: &[String]) {
        let data = call(function, words);
        let sent = json!([{"from": who, "to": contract, "data": data, "gas": GAS_MAX}]);
        let hash = self.rpc("eth_sendTransaction", &sent);
        while self.rpc("eth_getTransactionReceipt", &json!([hash])).is_null() {
            self.mine(1);
        }
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The node's program, above the folder of whichever test this is.
fn anvil() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own file");
    let found = test.ancestors().map(|folder| folder.join(ANVIL)).find(|file| file.is_file());
    found.expect("there is no anvil; run `cargo xtask setup`")
}

fn now_s() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the node's clock is the machine's")]
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The data of a call: the selector of a function, and words of 32 bytes.
fn call(function: &str, words: &[String]) -> String {
    format!("{}{}", to_hex(&keccak256(function.as_bytes())[..4]), words.concat())
}

/// 32 bytes as a word.
fn word(bytes: &[u8; 32]) -> String {
    to_hex(bytes).split_off(2)
}

/// A signature as the three words of most functions.
fn signed(signature: &Signature) -> [String; 3] {
    [format!("{:064x}", signature.v()), word(&signature.r()), word(&signature.s())]
}

/// An address as a word of 32 bytes.
fn word_of(address: &str) -> String {
    format!("{:0>64}", address.trim_start_matches("0x"))
}

fn small(value: &Value) -> u64 {
    let text = value.as_str().expect("a number is a text").trim_start_matches("0x").trim_start_matches('0');
    if text.is_empty() { 0 } else { u64::from_str_radix(text, 16).expect("no test has so much") }
}

/// One question by HTTP, and the body of its answer.
fn exchange(address: SocketAddr, question: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the node listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json";
    let request = format!("{head}\r\nContent-Length: {}\r\n\r\n{question}", question.len());
    stream.write_all(request.as_bytes()).expect("the node reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the node answers");
    answer.split_once("\r\n\r\n").expect("an answer has a head").1.to_owned()
}

#[cfg(test)]
mod tests {
    use super::{CHAIN_ID, Chain, Coin, PAYER, SELLER};
    use crate::wallet::{Wallet, usdc};

    #[test]
    fn a_chain_starts_with_a_token_that_nobody_has() {
        let chain = Chain::start();
        assert_eq!(chain.rpc("eth_chainId", &serde_json::json!([])), format!("{CHAIN_ID:#x}"));
        assert_eq!(chain.balance(PAYER.address), 0);
        chain.fund(PAYER.address, 1_000_000);
        assert_eq!((chain.balance(PAYER.address), chain.balance(SELLER.address)), (1_000_000, 0));
        assert!(!chain.is_used(PAYER.address, &[7; 32]));
        assert_eq!(chain.transfers(), []);
        chain.empty(PAYER.address);
        assert_eq!(chain.balance(PAYER.address), 0);
        let moved: Vec<u64> = chain.transfers().iter().map(|moved| moved.value).collect();
        assert_eq!(moved, [1_000_000]);
    }

    #[test]
    fn a_transfer_that_its_payer_has_signed_moves_tokens_once() {
        let chain = Chain::start();
        chain.fund(PAYER.address, 100);
        let wallet = Wallet::of(PAYER);
        let signed = wallet.pays(SELLER.address.parse().unwrap(), 10, 1, chain.now_s());
        chain.submit(&signed);
        let balances = || (chain.balance(PAYER.address), chain.balance(SELLER.address));
        assert_eq!((balances(), chain.is_used(PAYER.address, &signed.nonce)), ((90, 10), true));
        let blocks = chain.transfers().len();
        chain.put(Coin::Lenient);
        chain.submit(&signed);
        assert_eq!((balances(), chain.transfers().len()), ((90, 10), blocks), "taken, and nothing moved");
        chain.cancel(PAYER.address, &[9; 32], &wallet.cancels(&usdc(), [9; 32]));
        assert!(chain.is_used(PAYER.address, &[9; 32]));
    }
}
