// Payments for one shop, signed before they are needed: asks it once for its price, and prints a header's value a line.
// Payers take turns. Usage: node sign.mjs URL BODY COUNT PAYERS

import { randomBytes } from "node:crypto";
import { keccak256, toHex } from "viem";
import { privateKeyToAccount } from "viem/accounts";

const [url, body, count, payers] = process.argv.slice(-4);
const asked = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body });
const told = JSON.parse(Buffer.from(asked.headers.get("payment-required"), "base64"));
const accepted = told.accepts[0];
const accounts = Array.from({ length: Number(payers) }, (_, at) => privateKeyToAccount(keccak256(toHex(`payer ${at}`))));
const domain = {
  name: accepted.extra.name,
  version: accepted.extra.version,
  chainId: Number(accepted.network.split(":")[1]),
  verifyingContract: accepted.asset,
};
const types = {
  TransferWithAuthorization: [
    { name: "from", type: "address" },
    { name: "to", type: "address" },
    { name: "value", type: "uint256" },
    { name: "validAfter", type: "uint256" },
    { name: "validBefore", type: "uint256" },
    { name: "nonce", type: "bytes32" },
  ],
};
// Good for the hour of the benchmark.
const validBefore = String(Math.floor(Date.now() / 1000) + 3600);
const lines = accounts.map((account) => account.address);
for (let at = 0; at < Number(count); at += 1) {
  const account = accounts[at % accounts.length];
  const authorization = {
    from: account.address,
    to: accepted.payTo,
    value: accepted.amount,
    validAfter: "0",
    validBefore,
    nonce: toHex(randomBytes(32)),
  };
  const signature = await account.signTypedData({ domain, types, primaryType: "TransferWithAuthorization", message: authorization });
  const payment = { x402Version: 2, resource: told.resource, accepted, payload: { signature, authorization } };
  lines.push(Buffer.from(JSON.stringify(payment)).toString("base64"));
}
process.stdout.write(`${lines.join("\n")}\n`);
