"""Tokens of issuers: what is believed, and how their keys are fetched."""

import base64
import json
import os
import time

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey
from pydantic import ValidationError

from app.access.scopes import Scope
from app.access.settings import Issuer
from app.access.tokens import Tokens
from app.errors import InvalidCredentialError, IssuerUnavailableError
from tests.support import images
from tests.support.credentials import bearer
from tests.support.in_process import in_process, problem

ISSUER = "https://login.example"
KEYS = {
    "RS256": RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"}),
    "ES256": ECKey.generate_key("P-256", {"kid": "ec"}),
    "Ed25519": OKPKey.generate_key("Ed25519", {"kid": "ed"}),
}
OTHER = RSAKey.generate_key(2048, {"kid": "rsa"})


def token(algorithm="RS256", key=None, header=None, **claims):
    """Return a token that is valid unless its claims, or its key, say otherwise."""
    key = key or KEYS[algorithm]
    said = {
        "iss": ISSUER,
        "aud": "imagegate",
        "sub": "user-1",
        "exp": int(time.time()) + 60,
        "scope": "images:read images:list other",
    } | claims
    given = {"alg": algorithm, "kid": key.kid} | (header or {})
    head = {name: value for name, value in given.items() if value is not None}
    said = {name: value for name, value in said.items() if value is not None}
    return jwt.encode(head, said, key, algorithms=[algorithm])


class Server:
    """An issuer's server; counts what is asked of it."""

    def __init__(self):
        self.keys = list(KEYS.values())
        self.asked = []
        self.is_down = False

    def __call__(self, request):
        self.asked.append(request.url.path)
        if self.is_down:
            return httpx.Response(500)
        if request.url.path == "/.well-known/openid-configuration":
            return httpx.Response(200, json={"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"})
        return httpx.Response(200, json=KeySet(self.keys).as_dict(private=False))

    def tokens(self, **options):
        client = httpx.AsyncClient(transport=httpx.MockTransport(self))
        issuer = Issuer(**{"issuer": ISSUER, "audience": "imagegate"} | options)
        return Tokens([issuer], client)


@pytest.fixture
def server():
    return Server()


@pytest.mark.parametrize("algorithm", list(KEYS))
@pytest.mark.parametrize("kind", [None, "JWT", "at+jwt", "application/at+jwt"])
async def test_a_token_is_turned_into_a_principal(server, algorithm, kind):
    principal = await server.tokens().principal(token(algorithm, header={"typ": kind}))
    assert principal.name == "https://login.example#user-1"
    assert principal.scopes == {Scope.READ, Scope.LIST}


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"exp": int(time.time()) - 31},
        # The suite may take minutes until this one runs.
        {"nbf": int(time.time()) + 86_400},
        {"aud": None},
        {"aud": "another"},
        {"aud": ["another", "third"]},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "s" * 256},
        {"sub": "user\n1"},
        {"sub": "\u202eresu"},
        {"iss": "https://login.example/"},
        {"iss": None},
        {"header": {"typ": "logout+jwt"}},
        {"header": {"kid": "unknown"}},
        {"header": {"kid": None}},
        {"key": OTHER},
    ],
    # Workers collect the same names: no times, and no addresses of keys.
    ids="-".join,
)
async def test_any_other_token_is_refused(server, changes):
    with pytest.raises(InvalidCredentialError):
        await server.tokens().principal(token(**changes))


async def test_a_clock_may_differ_by_thirty_seconds(server):
    now = int(time.time())
    assert await server.tokens().principal(token(exp=now - 20, nbf=now + 20))


@pytest.mark.parametrize(
    "claims",
    [
        {"scope": None, "scp": ["images:read", "images:list", 7]},
        {"scope": None, "scp": "images:list images:read"},
        {"aud": ["other", "imagegate"]},
    ],
    ids=str,
)
async def test_scopes_and_audiences_are_texts_or_lists(server, claims):
    principal = await server.tokens().principal(token(**claims))
    assert principal.scopes == {Scope.READ, Scope.LIST}


async def test_a_named_claim_takes_the_place_of_scope(server):
    tokens = server.tokens(scope_claim="https://x.example/scopes")
    principal = await tokens.principal(token(**{"https://x.example/scopes": ["admin"]}))
    assert principal.scopes == {Scope.ADMIN}


async def test_an_algorithm_that_the_issuer_does_not_use_is_refused(server):
    with pytest.raises(InvalidCredentialError, match="algorithm"):
        await server.tokens(algorithms=("ES256",)).principal(token("RS256"))


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS512", "EdDSA"])
async def test_a_header_cannot_choose_another_algorithm(server, algorithm):
    _, claims, signature = token().split(".")
    text = json.dumps({"alg": algorithm, "kid": "rsa"}).encode()
    head = base64.urlsafe_b64encode(text).rstrip(b"=").decode()
    for ending in (signature, ""):
        with pytest.raises(InvalidCredentialError):
            await server.tokens().principal(f"{head}.{claims}.{ending}")


@pytest.mark.parametrize(
    "text", ["", ".", "..", "a.b.c", "e30.e30.", "W10.W10.x", "a" * 50, "ü.ü.ü"]
)
async def test_what_is_no_token_is_refused(server, text):
    with pytest.raises(InvalidCredentialError):
        await server.tokens().principal(text)
    assert server.asked == []


class TestKeys:
    async def test_they_are_discovered_once_and_a_token_is_verified_once(self, server):
        tokens, given = server.tokens(), token()
        for _ in range(3):
            await tokens.principal(given)
            await tokens.principal(token(sub="another"))
        assert server.asked == ["/.well-known/openid-configuration", "/keys"]

    async def test_a_url_or_a_file_takes_the_place_of_discovery(self, server, tmp_path):
        await server.tokens(jwks=f"{ISSUER}/other").principal(token())
        assert server.asked == ["/other"]
        path = tmp_path / "keys.json"
        path.write_text(json.dumps(KeySet(server.keys).as_dict(private=False)))
        await server.tokens(jwks=str(path)).principal(token())
        assert server.asked == ["/other"]

    async def test_a_new_key_is_fetched_when_it_is_named_but_not_by_every_unknown_name(
        self, server
    ):
        now = [1000.0]
        client = httpx.AsyncClient(transport=httpx.MockTransport(server))
        tokens = Tokens([Issuer(issuer=ISSUER, audience="imagegate", jwks=f"{ISSUER}/k")], client)
        for _, keys in tokens._issuers.values():
            keys._clock = lambda: now[0]
        await tokens.principal(token())
        new = ECKey.generate_key("P-256", {"kid": "new"})
        server.keys.append(new)
        for _ in range(5):
            with pytest.raises(InvalidCredentialError):
                await tokens.principal(token("ES256", new))
        assert len(server.asked) == 1
        now[0] += 31
        assert await tokens.principal(token("ES256", new))
        assert len(server.asked) == 2
        # A set that is old is fetched again, and kept where that fails.
        now[0] += 601
        server.is_down = True
        assert await tokens.principal(token(sub="later"))
        assert len(server.asked) == 3

    async def test_without_any_key_it_is_no_fault_of_the_token(self, server):
        server.is_down = True
        with pytest.raises(IssuerUnavailableError):
            await server.tokens().principal(token())

    @pytest.mark.parametrize(
        "said",
        [b"", b"[]", b'{"keys": []}', b'{"keys": [{"kty": "oct", "k": "AA"}]}', b"x" * 300_000],
    )
    async def test_what_is_no_set_of_keys_is_refused(self, said):
        client = httpx.AsyncClient(
            transport=httpx.MockTransport(lambda _: httpx.Response(200, content=said))
        )
        issuer = Issuer(issuer=ISSUER, audience="imagegate", jwks=f"{ISSUER}/k")
        with pytest.raises(IssuerUnavailableError):
            await Tokens([issuer], client).principal(token())

    @pytest.mark.parametrize(
        "said",
        [
            {"issuer": "https://evil.example", "jwks_uri": "https://evil.example/keys"},
            {"issuer": ISSUER, "jwks_uri": "http://issuer.example/keys"},
            {"issuer": ISSUER},
        ],
    )
    async def test_a_configuration_that_leads_elsewhere_is_refused(self, said):
        client = httpx.AsyncClient(
            transport=httpx.MockTransport(lambda _: httpx.Response(200, json=said))
        )
        with pytest.raises(IssuerUnavailableError):
            await Tokens([Issuer(issuer=ISSUER, audience="imagegate")], client).principal(token())


@pytest.mark.parametrize("case", ["pipe", "large"])
async def test_what_is_no_file_of_keys_is_not_waited_for_nor_read_whole(tmp_path, case):
    path = tmp_path / "jwks.json"
    if case == "pipe":
        os.mkfifo(path)
    else:
        path.write_text(json.dumps({"keys": "x" * 300_000}))
    tokens = Tokens([Issuer(issuer=ISSUER, audience="imagegate", jwks=str(path))])
    with pytest.raises(IssuerUnavailableError):
        await tokens.principal(token())


async def test_a_gateway_with_an_issuer_needs_a_token_and_knows_its_scopes(tmp_path):
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(KeySet(list(KEYS.values())).as_dict(private=False)))
    issuers = json.dumps([{"issuer": ISSUER, "audience": "imagegate", "jwks": str(path)}])
    async with in_process(tmp_path / "data", access={"issuers": issuers}) as client:
        problem(await client.get("/images"), 401, "credential-required")
        assert (await client.get("/images", headers=bearer(token()))).status_code == 200
        refusal = await client.get("/metrics", headers=bearer(token()))
        problem(refusal, 403, "insufficient-scope")
        bare = bearer(token(scope=None))
        problem(await client.get("/images", headers=bare), 403, "insufficient-scope")
        problem(await client.get("/images", headers=bearer("a.b.c")), 401, "invalid-credential")


async def test_an_image_belongs_to_the_subject_whichever_token_it_shows(tmp_path):
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(KeySet(list(KEYS.values())).as_dict(private=False)))
    issuers = json.dumps([{"issuer": ISSUER, "audience": "imagegate", "jwks": str(path)}])
    scope = "images:write images:read"
    async with in_process(tmp_path / "data", access={"issuers": issuers}) as client:

        def shown(subject, algorithm="RS256"):
            return bearer(token(algorithm, sub=subject, scope=scope))

        image = (await client.post("/images", content=images.jpeg(), headers=shown("Zoë"))).json()
        assert image["owner"] == f"{ISSUER}#Zoë"
        answer = await client.get(f"{image['url']}/metadata", headers=shown("Zoë", "ES256"))
        assert answer.json() == image
        problem(await client.get(image["url"], headers=shown("zoë")), 404, "image-not-found")


def test_the_name_of_an_issuer_cannot_be_that_of_another_with_a_subject():
    with pytest.raises(ValidationError):
        Issuer(issuer=f"{ISSUER}#user", audience="imagegate")


async def test_no_more_tokens_are_remembered_than_the_limit(server, monkeypatch):
    monkeypatch.setattr("app.access.tokens._REMEMBERED", 3)
    tokens = server.tokens()
    for number in range(5):
        await tokens.principal(token(sub=f"user-{number}"))
    assert len(tokens._verified) == 3
