"""The stock client of PyPI's `pympp`, as its documentation has it. What it saw goes to standard output."""

import asyncio
import json
import os

from eth_account import Account
from mpp.client import Mpp
from mpp.methods.evm import BASE_SEPOLIA_USDC
from mpp.methods.evm import client as evm


async def main() -> None:
    method = evm.charge(
        currency=BASE_SEPOLIA_USDC, account=Account.from_key(os.environ["KEY"]), max_amount="1"
    )
    headers = {"content-type": "application/json", **json.loads(os.environ.get("HEADERS", "{}"))}
    async with Mpp(methods=[method]) as mpp:
        response = await mpp.fetch(
            os.environ["URL_TO_PAY"], method="POST", content=os.environ["BODY"].encode(), headers=headers
        )
        seen = {"status": response.status_code, "headers": dict(response.headers), "body": response.text}
        print(json.dumps(seen))


asyncio.run(main())
