"""Every error is a problem, documented, and says nothing that it should not."""

import json
import re
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app import errors
from app.api import denials, problems
from app.telemetry.tally import Tally
from tests.support.credentials import make_key
from tests.support.described import answers, leaves, tree
from tests.support.in_process import in_process, problem

# One of each class, as it is raised.
INSTANCES = [
    errors.RangeNotSatisfiableError("Too far.", 5),
    errors.RecordDamagedError("Wrong CRC.", offset=7),
    errors.UnsupportedFormatError("A PDF.", "image/png"),
    errors.UnsupportedMediaTypeError("JSON.", "image/*"),
    errors.NotReadyError("Not yet.", retry_after_seconds=1),
    errors.RateLimitedError("Too fast.", "address-requests", 1),
    errors.OutcomeUnknownError("Lost.", outcomes=[errors.NotWrittenError("Late.")]),
]
REST = leaves() - {type(error) for error in INSTANCES}
# In order, as two workers collect them.
INSTANCES += [each("Why.") for each in sorted(REST, key=lambda each: each.code)]
DOCUMENT = Path(__file__).parents[2] / "docs/errors.md"
MODULE = pytest.mark.asyncio(loop_scope="module")


class TestTree:
    def test_every_code_has_one_class_and_one_meaning(self):
        codes = [each.code for each in answers()]
        assert len(codes) == len(set(codes)) > 20
        assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)
        assert all(each.__name__.endswith("Error") for each in tree())

    def test_the_document_lists_exactly_the_codes_with_their_status(self):
        table = re.findall(r"^\| `([^`]+)` \| (\d+) \|", DOCUMENT.read_text("utf-8"), re.MULTILINE)
        assert len(table) == len(set(table))
        assert set(table) == {(each.code, str(each.status)) for each in answers()}

    def test_the_docstring_draws_exactly_the_tree(self):
        drawn = re.findall(r"[├└]── (\w+)(?:\s+(\d{3}) ([a-z-]+)$)?", errors.__doc__, re.MULTILINE)
        assert {name for name, *_ in drawn} == {each.__name__ for each in tree()}
        assert {row for row in drawn if row[1]} == {
            (each.__name__, str(each.status), each.code) for each in answers()
        }

    def test_a_class_that_others_refine_cannot_be_raised(self):
        for each in {errors.GatewayError, *tree()} - leaves():
            with pytest.raises(TypeError, match=f"{each.__name__} has no code"):
                each("By mistake.")

    @pytest.mark.parametrize("error", INSTANCES, ids=lambda error: error.code)
    def test_an_error_has_a_value_for_each_header_of_its_class(self, error):
        assert list(error.header_values) == list(error.headers)
        assert all(error.header_values.values())

    def test_a_header_that_its_class_does_not_name_is_never_sent(self):
        error = errors.UnsupportedFormatError("A PDF.", "image/png")
        error.header_values["Set-Cookie"] = "x=y"
        response = problems.answer(error, "1")
        assert response.headers["accept"] == "image/png"
        assert "set-cookie" not in response.headers

    @pytest.mark.parametrize("error", INSTANCES, ids=lambda error: error.code)
    def test_a_problem_says_when_to_try_again_as_the_header_does(self, error):
        response = problems.answer(error, "1")
        given = json.loads(response.body).get("retry_after")
        assert response.headers.get("retry-after") == (None if given is None else str(given))
        assert (given is not None) == isinstance(error, errors.UnavailableError)

    def test_a_client_may_repeat_what_is_not_its_mistake(self):
        for each in answers():
            if each.status in (408, 429, 503, 504):
                assert each.retryable, each
            elif each.status < 500:
                # The one before it ends some time.
                assert each.retryable == (each is errors.IdempotencyKeyInUseError), each


@MODULE
class TestFramework:
    @pytest.mark.parametrize("path", ["/nothing", "/images/a/b/c", "/%00", "http://localhost//"])
    async def test_an_unknown_path_is_a_problem(self, shared_client, path):
        body = problem(await shared_client.get(path), 404, "not-found")
        assert body["type"] == "urn:imagegate:problem:not-found"
        assert body["retryable"] is False

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("PUT", "/images", {"GET", "HEAD", "POST", "OPTIONS"}),
            ("PATCH", "/images/" + "a" * 32, {"GET", "HEAD", "DELETE", "OPTIONS"}),
            ("POST", "/health/live", {"GET", "HEAD", "OPTIONS"}),
            ("BREW", "/images", {"GET", "HEAD", "POST", "OPTIONS"}),
        ],
    )
    async def test_another_method_is_a_problem_that_says_which_are_allowed(
        self, shared_client, method, path, allowed
    ):
        response = await shared_client.request(method, path)
        problem(response, 405, "method-not-allowed")
        assert {each.strip() for each in response.headers["allow"].split(",")} == allowed

    async def test_an_invalid_parameter_is_a_problem_that_names_it(self, shared_client):
        body = problem(await shared_client.get("/images?limit=0"), 422, "invalid-parameter")
        assert "query limit" in body["detail"]
        response = await shared_client.get("/streams/images", headers={"last-event-id": "x"})
        assert "last-event-id" in problem(response, 422, "invalid-parameter")["detail"]

    async def test_what_a_client_wrote_comes_back_as_json_only(self, shared_client):
        response = await shared_client.get('/<script>"x"</script>')
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-store"
        assert "<script>" in problem(response, 404, "not-found")["detail"]


@MODULE
class TestOurOwnMistakes:
    @pytest.fixture
    def mistaken(self, shared_client, monkeypatch):
        """Have every listing fail with a secret that must not leave the process."""

        async def fail(*_):
            raise RuntimeError("SECRET at /srv/SECRET")

        monkeypatch.setattr(shared_client.gateway.catalog, "newest", fail)

    async def test_a_mistake_is_a_500_that_leaks_nothing(self, shared_client, mistaken):
        response = await shared_client.get("/images")
        body = problem(response, 500, "internal-error")
        assert body["retryable"] is False
        assert "outcome" not in body
        assert "SECRET" not in response.text
        assert "Traceback" not in response.text
        assert "retry-after" not in response.headers

    async def test_it_is_logged_once_with_its_cause_and_request_id(self, shared_client, mistaken):
        with capture_logs() as logs:
            response = await shared_client.get("/images", headers={"x-request-id": "find-me.1"})
        assert problem(response, 500, "internal-error")["request_id"] == "find-me.1"
        [entry] = [entry for entry in logs if entry["event"] == "request_failed"]
        assert entry["request_id"] == "find-me.1"
        assert "SECRET" in str(entry["exc_info"])

    async def test_the_gateway_goes_on(self, shared_client, mistaken, monkeypatch):
        assert (await shared_client.get("/images")).status_code == 500
        monkeypatch.undo()
        assert (await shared_client.get("/images")).status_code == 200


@MODULE
class TestLines:
    @pytest.mark.parametrize(
        ("method", "path", "code"),
        [
            ("GET", "/images/none", "image-not-found"),
            ("GET", "/images?limit=0", "invalid-parameter"),
            ("PUT", "/images", "method-not-allowed"),
            ("GET", "/images?signature=x", "invalid-link"),
            ("GET", "/images", None),
        ],
    )
    async def test_that_of_a_refused_request_has_its_code(self, shared_client, method, path, code):
        with capture_logs() as logs:
            await shared_client.request(method, path)
        [line] = [each for each in logs if each["event"] == "request"]
        assert line.get("code") == code

    async def test_an_overload_is_one_warning_a_second_with_a_count(
        self, shared_client, monkeypatch
    ):
        async def fail(*_):
            raise errors.OverloadedError("No room.")

        now = 0.0
        monkeypatch.setattr(denials, "_refused", Tally(lambda: now))
        monkeypatch.setattr(shared_client.gateway.finder, "find", fail)
        with capture_logs() as logs:
            for _ in range(5):
                problem(await shared_client.get("/images/none"), 503, "overloaded")
            now = 2.0
            await shared_client.get("/images/none")
        assert not [each for each in logs if each["log_level"] == "error"]
        lines = [each for each in logs if each["event"] == "request_refused"]
        assert [(each["reason"], each["count"]) for each in lines] == [("load", 1), ("load", 5)]

    @pytest.mark.parametrize(
        ("path", "headers", "event", "code"),
        [
            ("/images", {"host": "evil.test"}, "request_refused", "misdirected-request"),
            ("/images", {"origin": "http://evil.test"}, "request_refused", "cross-site"),
            ("/images/" + "a" * 32 + "?signature=x", {}, "access_denied", "invalid-link"),
            ("/images", {"x-api-key": "a"}, "access_denied", "invalid-credential"),
            ("/images", {}, "access_denied", "credential-required"),
        ],
    )
    async def test_a_stranger_does_not_flood_the_log_with_warnings(
        self, tmp_path, monkeypatch, path, headers, event, code
    ):
        now = 0.0
        for name in ("_refused", "_denied"):
            monkeypatch.setattr(denials, name, Tally(lambda: now))
        make_key(tmp_path, "admin")
        async with in_process(tmp_path) as client:
            method = "POST" if "origin" in headers else "GET"
            with capture_logs() as logs:
                for _ in range(5):
                    await client.request(method, path, headers=headers)
                now = 2.0
                await client.request(method, path, headers=headers)
        lines = [each for each in logs if each["event"] == event]
        assert [(each["code"], each["count"]) for each in lines] == [(code, 1), (code, 5)]
        assert [each["code"] for each in logs if each["event"] == "request"] == [code] * 6


@MODULE
class TestRequestId:
    async def test_a_clients_id_is_kept_and_any_other_is_made(self, shared_client):
        response = await shared_client.get("/health/live", headers={"x-request-id": "a-B.9_"})
        assert response.headers["x-request-id"] == "a-B.9_"
        made = {(await shared_client.get("/health/live")).headers["x-request-id"] for _ in range(5)}
        assert len(made) == 5

    @pytest.mark.parametrize("given", ["", "a b", "x" * 65, "<script>", "a\u00e9"])
    async def test_an_id_that_could_do_harm_is_not_repeated(self, shared_client, given):
        headers = {"x-request-id": given.encode()}
        response = await shared_client.get("/health/live", headers=headers)
        assert response.headers["x-request-id"] not in (given, "")
