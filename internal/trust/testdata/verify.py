"""Verifies an envelope with nothing of millrace: verify.py ENVELOPE PUBLIC_KEY."""
import base64
import hashlib
import json
import sys

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

envelope = json.load(open(sys.argv[1]))
key = load_pem_public_key(open(sys.argv[2], "rb").read())
payload = base64.standard_b64decode(envelope["payload"])
kind = envelope["payloadType"].encode()
pae = b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])
(signature,) = envelope["signatures"]
keyid = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
assert signature["keyid"] == keyid
key.verify(base64.standard_b64decode(signature["sig"]), pae)  # raises unless it is right
statement = json.loads(payload)
assert statement["_type"] == "https://in-toto.io/Statement/v1"
print(statement["subject"][0]["name"], statement["predicate"]["action"], statement["predicate"]["by"], keyid)
