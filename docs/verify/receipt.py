"""Verifies a receipt file of execgate with PyPI's securesystemslib and rfc8785, and prints its leaf in the log.

    python receipt.py RECEIPT.json RECEIPT.pub
"""

import base64
import hashlib
import json
import sys

import rfc8785
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

with open(sys.argv[1], "rb") as file:
    receipt = json.load(file)
with open(sys.argv[2], "rb") as file:
    public = load_pem_public_key(file.read())

# The signature: DSSE over an in-toto statement.
envelope = receipt["envelope"]
key = SSlibKey.from_crypto(public, keyid=envelope["signatures"][0]["keyid"])
Envelope.from_dict(dict(envelope)).verify([key], 1)

# The statement: its bytes are the canonical ones, and it is about this run.
payload = base64.b64decode(envelope["payload"], validate=True)
statement = json.loads(payload)
if rfc8785.dumps(statement) != payload:
    sys.exit("the statement is not canonical")
if statement["predicate"]["exec_id"] != receipt["exec_id"]:
    sys.exit("the statement is about another run")

# The content receipt: the statement commits to it under the salt.
salt = bytes.fromhex(receipt["salt"])
committed = hashlib.sha256(salt + receipt["receipt"].encode()).hexdigest()
if statement["subject"][0]["digest"]["sha256"] != committed:
    sys.exit("the statement commits to another receipt")

print(hashlib.sha256(salt + payload).hexdigest())
