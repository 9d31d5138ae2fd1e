// A shop by the server of x402's own makers, as their guide has it: runs the code of a paid request by a Python of its own.
// Usage: node server.mjs FACILITATOR SELLER

import { execFile } from "node:child_process";
import express from "express";
import { paymentMiddleware, x402ResourceServer } from "@x402/express";
import { HTTPFacilitatorClient } from "@x402/core/server";
import { ExactEvmScheme } from "@x402/evm/exact/server";

const [url, payTo] = process.argv.slice(-2);
const network = "eip155:84532";
const sells = new x402ResourceServer(new HTTPFacilitatorClient({ url })).register(network, new ExactEvmScheme());
const app = express();
app.use(paymentMiddleware({ "POST /api/code-run": { accepts: { scheme: "exact", price: "$0.02", network, payTo } } }, sells));
app.use(express.json());
app.post("/api/code-run", (request, response) => {
  execFile("/usr/bin/python3", ["-c", request.body.code], { env: {} }, (error, stdout, stderr) => {
    response.status(error ? 500 : 200).json({ language: "python", stdout, stderr, result: null, error: null });
  });
});
const server = app.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
