import asyncio, json
from eth_account import Account
from mpp import Challenge, Receipt
from mpp._body_digest import compute
from mpp.methods.evm import BASE_SEPOLIA_USDC
from mpp.methods.evm import client as evm

KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
SECRET = "a secret of at least thirty-two bytes, for tests"
REQUEST = {"amount": "20000", "currency": "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
           "methodDetails": {"chainId": 84532, "credentialTypes": ["authorization"], "decimals": 6},
           "recipient": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"}
base = dict(secret_key=SECRET, realm="gw.example", method="evm", intent="charge", request=REQUEST)
at = "2026-11-22T00:05:00Z"
cases = {
    "plain": dict(expires=at),
    "all": dict(expires=at, digest="sha-256=:" + compute('{"a":1}')[8:] + ":", meta={"resource": "sha-256=abc", "b": "ü"}, description='one "run" \\ with — everything'),
    "header": dict(expires="2026-11-22T00:05:00.250Z", header="Payment-Authorization", meta={"a": "b"}),
}
method = evm.charge(currency=BASE_SEPOLIA_USDC, account=Account.from_key(KEY))
class P:
    def __init__(self, challenge): self.challenge = challenge
out = []
for name, more in cases.items():
    c = Challenge.create(**base, **more)
    header = c.to_www_authenticate(c.realm)
    seen = Challenge.from_www_authenticate(header)
    credential = asyncio.run(method.create_credential(P(seen)))
    out.append({"name": name, "secret": SECRET, "header": header, "id": c.id, "request": c.request_b64, "credential": credential})
json.dump({"made_by": "pympp 0.16.0", "challenges": out}, open("pympp.json", "w"), indent=1)
