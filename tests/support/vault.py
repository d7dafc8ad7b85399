"""A server on loopback that speaks the API of Vault's transit engine, as far as a gateway uses it.

As in https://developer.hashicorp.com/vault/api-docs/secret/transit and Vault's own source: a batch
of which every item fails is a 400 that has the items, and a failed item has an empty plaintext.
"""

import base64
import json
import os
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.support.http_stand_in import running

TOKEN = "hvs.the-token-of-a-gateway"  # noqa: S105 - of a stand-in


class Vault(ThreadingHTTPServer):
    """A Vault with one key, in the engine `transit`.

    Attributes:
        requests: The paths of all requests so far, and how many items each had.
        answer: What to answer instead, a status and errors.
        is_sealed: Whether it is.
        failing: How many requests it answers as if it was.
        token: The one that it accepts.
        min_version: The lowest version that it still decrypts with.
        hang: Set to have it answer only once this is set.
        is_endless: Whether its answers have no end; `sent` counts their bytes.
        forbidden: An operation that the token is not allowed.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.versions = {1: os.urandom(32)}
        self.requests = []
        self.namespaces = []
        self.answer = None
        self.is_sealed = False
        self.failing = 0
        self.token = TOKEN
        self.min_version = 1
        self.hang = None
        self.is_endless = False
        self.sent = 0
        self.forbidden = ""
        self.scheme = "http"

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    def rotate(self):
        self.versions[max(self.versions) + 1] = os.urandom(32)

    def sealing(self, **changes):
        """The settings of a gateway that uses it."""
        return {"vault_url": self.url, "vault_token": TOKEN} | changes

    def encrypt(self, plain):
        version, nonce = max(self.versions), os.urandom(12)
        sealed = nonce + AESGCM(self.versions[version]).encrypt(nonce, plain, None)
        return f"vault:v{version}:{base64.b64encode(sealed).decode()}"

    def decrypt(self, ciphertext):
        """Return the item of a batch's answer."""
        try:
            vault, version, text = ciphertext.split(":")
            number = int(version.removeprefix("v"))
            if vault != "vault" or number not in self.versions:
                return _failed("invalid ciphertext: version is too new")
            if number < self.min_version:
                return _failed("ciphertext or signature version is disallowed by policy (too old)")
            sealed = base64.b64decode(text, validate=True)
            plain = AESGCM(self.versions[number]).decrypt(sealed[:12], sealed[12:], None)
        except InvalidTag:
            return _failed("cipher: message authentication failed")
        except ValueError:
            return _failed("invalid ciphertext: could not decode")
        return {"plaintext": base64.b64encode(plain).decode()}


def _failed(reason):
    return {"plaintext": "", "error": reason}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one segment.
    wbufsize = 65_536

    def do_POST(self):
        vault = self.server
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        vault.requests.append((self.path, len(body.get("batch_input", []))))
        vault.namespaces.append(self.headers["x-vault-namespace"])
        if vault.hang is not None:
            vault.hang.wait(60)
        if vault.is_endless:
            self._send_for_ever()
            return
        status, answer = self._answer(body)
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _send_for_ever(self):
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        with suppress(OSError):
            while True:
                self.wfile.write(bytes(65_536))
                self.server.sent += 65_536

    def _answer(self, body):
        vault = self.server
        if vault.answer is not None:
            return vault.answer
        vault.failing -= 1
        if vault.is_sealed or vault.failing >= 0:
            return 503, {"errors": ["Vault is sealed"]}
        is_forbidden = bool(vault.forbidden) and vault.forbidden in self.path
        if is_forbidden or self.headers["x-vault-token"] != vault.token:
            return 403, {"errors": ["permission denied"]}
        answers = {
            "datakey/plaintext": self._data_key,
            "decrypt": self._decrypted,
            "rewrap": self._rewrapped,
            "encrypt": self._encrypted,
        }
        operation, _, name = self.path.removeprefix("/v1/transit/").rpartition("/")
        if operation in answers:
            return answers[operation](name, body)
        return 404, {"errors": [f'no handler for route "{self.path}". route entry not found.']}

    def _data_key(self, name, body):
        if name != "imagegate":
            return 400, {"errors": ["encryption key not found"]}
        key = os.urandom(body.get("bits", 256) // 8)
        vault = self.server
        data = {
            "plaintext": base64.b64encode(key).decode(),
            "ciphertext": vault.encrypt(key),
            "key_version": max(vault.versions),
        }
        return 200, {"request_id": "1", "lease_id": "", "renewable": False, "data": data}

    def _encrypted(self, name, body):
        if name != "imagegate":
            return 400, {"errors": ["encryption key not found"]}
        items = [
            {"ciphertext": self.server.encrypt(base64.b64decode(each["plaintext"]))}
            for each in body["batch_input"]
        ]
        return 200, {"request_id": "1", "data": {"batch_results": items}}

    def _rewrapped(self, name, body):
        status, answer = self._decrypted(name, body)
        for each in answer.get("data", {}).get("batch_results", []):
            if plain := each.pop("plaintext"):
                each["ciphertext"] = self.server.encrypt(base64.b64decode(plain))
        return status, answer

    def _decrypted(self, name, body):
        if name != "imagegate":
            return 400, {"errors": ["encryption key not found"]}
        items = [self.server.decrypt(each["ciphertext"]) for each in body["batch_input"]]
        failed = [each for each in items if "error" in each]
        status = 200
        if failed:
            status = body.get("partial_failure_response_code", 400)
        if len(failed) == len(items):
            status = 400
        return status, {"request_id": "1", "data": {"batch_results": items}}

    def log_message(self, *_):
        pass


@contextmanager
def serving(tls=None):
    with running(Vault(), tls) as server:
        try:
            yield server
        finally:
            if server.hang is not None:
                server.hang.set()
