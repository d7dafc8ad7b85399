"""A server of tokens by OpenID Connect client credentials, on loopback."""

import base64
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from tests.support.http_stand_in import running

CLIENT, SECRET = "gate:way", "s3cret of the token server"


class TokenServer(ThreadingHTTPServer):
    """Answers with tokens of `issuer`, unless it is told otherwise.

    Attributes:
        forms: Those of all requests so far.
        answer: What to answer instead, a status and a body.
        seconds: How long its tokens live.
    """

    daemon_threads = True

    def __init__(self, issuer):
        super().__init__(("127.0.0.1", 0), Handler)
        self.issuer = issuer
        self.forms = []
        self.answer = None
        self.seconds = 300
        self.audience = "kafka"
        self.scheme = "http"

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.server_port}/token"

    def settings(self, **changes):
        """The settings of a gateway that gets its tokens here, by their names."""
        return {
            "sasl_mechanism": "OAUTHBEARER",
            "oauth_token_url": self.url,
            "oauth_client_id": CLIENT,
            "oauth_client_secret": SECRET,
            "oauth_scope": "kafka images",
        } | changes


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        server.forms.append(form)
        status, body = server.answer or self._answer()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def _answer(self):
        # https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1
        pair = base64.b64encode(b"gate%3Away:s3cret+of+the+token+server").decode()
        if self.headers["authorization"] != f"Basic {pair}":
            return 401, json.dumps({"error": "invalid_client", "error_description": pair}).encode()
        token = self.server.issuer.token(
            "oauth", seconds=self.server.seconds, audience=self.server.audience
        )
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": self.server.seconds}
        return 200, json.dumps(answer).encode()

    def log_message(self, *_):
        pass


def serving(issuer, tls=None):
    """Run one within a context; yields it."""
    return running(TokenServer(issuer), tls)
