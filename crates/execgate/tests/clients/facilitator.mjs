// A facilitator of x402's own makers, on a chain of a test or a benchmark: settles what a gateway sends it, and says on which
// port it is. Many may ask at once, so that its numbers are drawn by one hand.
// Usage: node facilitator.mjs RPC KEY

import { createServer } from "node:http";
import { createWalletClient, http, publicActions } from "viem";
import { nonceManager, privateKeyToAccount } from "viem/accounts";
import { baseSepolia } from "viem/chains";
import { x402Facilitator } from "@x402/core/facilitator";
import { toFacilitatorEvmSigner } from "@x402/evm";
import { ExactEvmScheme } from "@x402/evm/exact/facilitator";
import { UptoEvmScheme } from "@x402/evm/upto/facilitator";

const [rpc, key] = process.argv.slice(-2);
const account = privateKeyToAccount(key, { nonceManager });
const client = createWalletClient({ account, chain: baseSepolia, transport: http(rpc), pollingInterval: 20 }).extend(publicActions);
const signer = toFacilitatorEvmSigner({
  address: account.address,
  getCode: (args) => client.getCode(args),
  readContract: (args) => client.readContract({ ...args, args: args.args ?? [] }),
  verifyTypedData: (args) => client.verifyTypedData(args),
  writeContract: (args) => client.writeContract({ ...args, args: args.args ?? [] }),
  sendTransaction: (args) => client.sendTransaction(args),
  waitForTransactionReceipt: (args) => client.waitForTransactionReceipt(args),
});
const facilitator = new x402Facilitator()
  .register("eip155:84532", new ExactEvmScheme(signer))
  .register("eip155:84532", new UptoEvmScheme(signer));

async function answer(url, body) {
  switch (url) {
    case "/supported":
      return facilitator.getSupported();
    case "/verify":
      return facilitator.verify(body.paymentPayload, body.paymentRequirements);
    case "/settle":
      return facilitator.settle(body.paymentPayload, body.paymentRequirements);
    default:
      return null;
  }
}

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  try {
    const told = await answer(request.url, text ? JSON.parse(text) : {});
    response.writeHead(told ? 200 : 404, { "content-type": "application/json" });
    response.end(JSON.stringify(told));
  } catch (error) {
    response.writeHead(500, { "content-type": "application/json" });
    response.end(JSON.stringify({ error: String(error) }));
  }
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
