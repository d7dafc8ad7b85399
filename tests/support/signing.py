"""Keys that sign records, and gateways that have them."""

import base64

from app.records.signature import Signatures

K1, K2, STRANGER = b"1" * 32, b"2" * 32, b"3" * 32
OURS = Signatures({"k1": K1})
THEIRS = Signatures({"k1": STRANGER})


def keys(**named):
    """The value of the setting for these keys: `keys(k2=K2, k1=K1)`."""
    return ",".join(f"{name}:{base64.b64encode(key).decode()}" for name, key in named.items())
