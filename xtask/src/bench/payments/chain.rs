//! The node of the case, with the token at the address that everybody knows.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bench::http::{self, Connection};
use crate::bench::program::Program;
use crate::packages::{ANVIL, ANVIL_PROGRAM};
use crate::setup;

/// The code of the token, made for the tests.
const TOKEN_CODE: &str = include_str!("../../../../crates/testkit/chain/token.hex");

/// Where USDC is on Base Sepolia.
const USDC: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";

/// The chain: Base Sepolia.
pub(super) const CHAIN: &str = "eip155:84532";

/// Who sells: an account of the public mnemonic of development nodes.
pub(super) const SELLER: &str = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";

/// Whose ether pays where the facilitator settles: the second account of that mnemonic.
pub(super) const FACILITATOR_KEY: &str = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";

/// Whose ether pays where the settler does: the sixth.
pub(super) const SETTLER_KEY: &str = "0x8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba";

/// Who gives tokens to payers: the first.
const GIVER: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";

/// What a payer is given, in units: more than it spends.
const GIVEN: u64 = 1_000_000_000_000;

/// Enough gas for any call of the token.
const GAS: &str = "0x30d40";

/// `mint(address,uint256)` and `balanceOf(address)`.
const SELECTORS: [&str; 2] = ["0x40c10f19", "0x70a08231"];

/// A node.
pub(super) struct Chain {
    node: Program,
    /// Where it writes blocks down that it keeps no more: gone with it.
    _home: TempDir,
}

impl Chain {
    /// A node that mines a block with every transaction.
    pub(super) fn start() -> Result<Self> {
        let program = setup::tools_dir()?.join(ANVIL).join(ANVIL_PROGRAM);
        ensure!(program.is_file(), "the Ethereum node is not installed: `cargo xtask setup` installs it");
        let mut command = Command::new(program);
        command.args(["--host", "127.0.0.1", "--port", "0", "--hardfork", "prague", "--chain-id", "84532"]);
        // Nobody reads what it would say of every question.
        let home = tempfile::tempdir().context("failed to make a folder for the node")?;
        command.args(["--threads", "1"]).env_clear().env("HOME", home.path());
        let chain = Self { node: Program::start(&mut command, "Listening on ")?, _home: home };
        chain.rpc("anvil_setCode", &json!([USDC, format!("0x{}", TOKEN_CODE.trim())]))?;
        Ok(chain)
    }

    /// Where it answers.
    pub(super) fn url(&self) -> String {
        self.node.url()
    }

    /// Gives somebody tokens.
    pub(super) fn give(&self, who: &str) -> Result<()> {
        let data = format!("{}{}{GIVEN:064x}", SELECTORS[0], word(who));
        self.rpc("eth_sendTransaction", &json!([{"from": GIVER, "to": USDC, "data": data, "gas": GAS}]))?;
        Ok(())
    }

    /// What the seller has, in units.
    pub(super) fn earned(&self) -> Result<u64> {
        let data = format!("{}{}", SELECTORS[1], word(SELLER));
        let units = self.rpc("eth_call", &json!([{"to": USDC, "data": data}, "latest"]))?;
        let digits = units.as_str().context("a balance is a text")?.trim_start_matches("0x");
        u64::from_str_radix(digits.trim_start_matches('0'), 16).or_else(|_| Ok(0))
    }

    fn rpc(&self, method: &str, params: &Value) -> Result<Value> {
        let mut request = Vec::new();
        let question = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        http::post(&mut request, self.node.address, "/", &question.to_string());
        let (_, body) = Connection::open(self.node.address)?.ask(&request)?;
        let mut answer: Value = serde_json::from_slice(&body).context("the node answers no JSON")?;
        ensure!(answer.get("error").is_none(), "{method}: {answer}");
        Ok(answer["result"].take())
    }
}

/// An address as a word of 32 bytes.
fn word(address: &str) -> String {
    format!("{:0>64}", address.trim_start_matches("0x"))
}
