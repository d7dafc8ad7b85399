"""Authentication and limits: the CPU time that they add to a request.

Every side sends the same requests to an application in this process, without a socket between, and
all take turns. The requests are for an image whose id is malformed, which costs little else. The
first side needs no credential. A token is verified once and then remembered by its digest, so the
last sides send a new one with each request.
"""

import base64
import json
import time
from contextlib import AsyncExitStack
from http import HTTPStatus
from itertools import count

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc import jwk, jwt

from app import settings
from app.limits.settings import LimitSettings
from app.main import create_app
from app.telemetry import logs
from bench.rounds import medians
from tests.support.credentials import bearer, make_key

# In each round of each side.
REQUESTS = 300
ISSUER = {"issuer": "https://issuer.example", "audience": "bench"}
NO_LIMITS = dict.fromkeys(
    (name for name in LimitSettings.model_fields if name != "window_seconds"), 0
)
KEYS = {
    "RS256": lambda: jwk.RSAKey.import_key(rsa.generate_private_key(65_537, 2_048)),
    "ES256": lambda: jwk.ECKey.import_key(ec.generate_private_key(ec.SECP256R1())),
    "Ed25519": lambda: jwk.OKPKey.import_key(ed25519.Ed25519PrivateKey.generate()),
}


async def measure(folder):
    """Return the rows of the table, one a side."""
    logs.configure("error")
    signers = {name: make() for name, make in KEYS.items()}
    async with AsyncExitStack() as stack:

        async def started(name, **sections):
            loaded = settings.load(data_dir=folder / name, imaging={"workers": 1}, **sections)
            app = create_app(loaded)
            await stack.enter_async_context(app.router.lifespan_context(app))
            await app.state.gateway.feed.caught_up()
            return app

        (folder / "closed").mkdir(parents=True)
        key = bearer(make_key(folder / "closed", "admin"))["authorization"]
        jwks = folder / "jwks.json"
        public = [each.as_dict(private=False, kid=name) for name, each in signers.items()]
        jwks.write_text(json.dumps({"keys": public}))
        access = {
            "issuers": [ISSUER | {"jwks": str(jwks)}],
            "keys_file": folder / "closed/keys.json",
        }
        opened = await started("open")
        closed = await started("closed", access=access, limits=NO_LIMITS)
        limited = await started("limited", access=access)
        remembered = token(signers["RS256"], "RS256", 0)
        numbers = count(1)
        sides = {
            "without authentication": (opened, lambda: None),
            "key": (closed, lambda: key),
            "key, and limits": (limited, lambda: key),
            "token seen before": (closed, lambda: remembered),
        } | {
            f"new token, {name}": (
                closed,
                lambda name=name: token(signers[name], name, next(numbers)),
            )
            for name in signers
        }
        seconds = await medians(
            {name: Side(app, credential) for name, (app, credential) in sides.items()},
            clock=time.process_time,
        )
    least = seconds["without authentication"]
    return [
        {
            "request": name,
            "CPU": f"{each / REQUESTS * 1e6:,.0f} µs",
            "beyond the first": f"{(each - least) / REQUESTS * 1e6:,.0f} µs",
        }
        for name, each in seconds.items()
    ]


class Side:
    """Requests with a credential each, which are made before they are measured."""

    def __init__(self, app, credential):
        self.app = app
        self.credential = credential
        self.made = []

    def prepare(self):
        """Make the credentials of one more round."""
        self.made = [self.credential() for _ in range(REQUESTS)]

    async def __call__(self):
        """Send the requests of a round, one after the other."""
        for credential in self.made:
            await self._ask(credential)

    async def _ask(self, credential):
        headers = [(b"host", b"localhost")]
        if credential:
            headers.append((b"authorization", credential.encode()))
        statuses = []

        async def send(message):
            statuses.append(message.get("status"))

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/images/malformed/metadata",
            "query_string": b"",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "scheme": "http",
        }
        await self.app(scope, None, send)
        if statuses[0] != HTTPStatus.NOT_FOUND:
            raise RuntimeError(f"the gateway answered with {statuses[0]}")


def token(key, algorithm, number):
    """Return the value of `Authorization` with a token that no other has the digest of."""
    claims = {
        "iss": ISSUER["issuer"],
        "aud": ISSUER["audience"],
        "sub": "bench",
        "scope": "admin",
        "exp": int(time.time()) + 3_600,
        "jti": base64.b64encode(str(number).encode()).decode(),
    }
    header = {"alg": algorithm, "kid": algorithm}
    return f"Bearer {jwt.encode(header, claims, key, algorithms=[algorithm])}"
