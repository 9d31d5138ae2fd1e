// Unmodified clients of x402: each makes one call and prints what it got as one line of JSON.
// Usage: node pay.mjs fetch|axios|legacy URL BODY KEY

import { privateKeyToAccount } from "viem/accounts";

const [client, url, body, key] = process.argv.slice(-4);
const account = privateKeyToAccount(key);
const request = { method: "POST", headers: { "content-type": "application/json" }, body };

async function byFetch() {
  const { wrapFetchWithPaymentFromConfig } = await import("@x402/fetch");
  const { ExactEvmScheme, UptoEvmScheme } = await import("@x402/evm");
  const pay = wrapFetchWithPaymentFromConfig(fetch, {
    schemes: [ExactEvmScheme, UptoEvmScheme].map((Scheme) => ({ network: "eip155:*", client: new Scheme(account) })),
  });
  return pay(url, request);
}

async function byAxios() {
  const { default: axios } = await import("axios");
  const { wrapAxiosWithPayment, x402Client } = await import("@x402/axios");
  const { ExactEvmScheme } = await import("@x402/evm");
  const payer = new x402Client().register("eip155:*", new ExactEvmScheme(account));
  const pay = wrapAxiosWithPayment(axios.create({ validateStatus: (status) => status !== 402 }), payer);
  const answer = await pay.post(url, JSON.parse(body));
  return new Response(JSON.stringify(answer.data), { status: answer.status, headers: { ...answer.headers } });
}

async function byLegacy() {
  const { wrapFetchWithPayment } = await import("x402-fetch");
  return wrapFetchWithPayment(fetch, account)(url, request);
}

const clients = { fetch: byFetch, axios: byAxios, legacy: byLegacy };
const answer = await clients[client]();
const read = (name) => {
  const value = answer.headers.get(name);
  return value ? JSON.parse(Buffer.from(value, "base64").toString()) : null;
};
console.log(
  JSON.stringify({
    status: answer.status,
    body: await answer.json(),
    two: read("payment-response"),
    one: read("x-payment-response"),
    cache: answer.headers.get("cache-control"),
  }),
);
