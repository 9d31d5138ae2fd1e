"""The unmodified Python client of x402: makes one call and prints what it got as one line of JSON.

Usage: python pay.py URL BODY KEY
"""

import asyncio
import base64
import json
import sys

from eth_account import Account
from x402 import x402Client
from x402.http.clients import x402HttpxClient
from x402.mechanisms.evm import EthAccountSigner
from x402.mechanisms.evm.exact.register import register_exact_evm_client
from x402.mechanisms.evm.upto import UptoEvmScheme


async def main(url: str, body: str, key: str) -> None:
    client = x402Client()
    signer = EthAccountSigner(Account.from_key(key))
    register_exact_evm_client(client, signer)
    client.register("eip155:*", UptoEvmScheme(signer))
    async with x402HttpxClient(client) as http:
        answer = await http.post(url, content=body, headers={"content-type": "application/json"}, timeout=30)

    def read(name: str):
        value = answer.headers.get(name)
        return json.loads(base64.b64decode(value)) if value else None

    told = {
        "status": answer.status_code,
        "body": answer.json(),
        "two": read("payment-response"),
        "one": read("x-payment-response"),
        "cache": answer.headers.get("cache-control"),
    }
    print(json.dumps(told))


asyncio.run(main(*sys.argv[1:]))
