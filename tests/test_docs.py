"""Names in the documents exist: links, settings, errors, log events, paths, headers."""

import ast
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app import errors, settings
from app.events import event as events
from app.log import IMAGES, Position
from app.records import image as records
from app.records.address import Address
from app.records.signature import Signatures
from app.records.stated_key import ImageKey
from app.records.value import ValueEncoding
from app.sealing.wrapped_key import WrappedKey
from app.telemetry import metrics
from tests.support import facts

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
# From the framework: they have no class of ours.
FRAMEWORK_CODES = {"not-found", "method-not-allowed"}
FENCED = r"(?ms)^```{}\n(.*?)^```"


def text(name):
    return (ROOT / name).read_text("utf-8")


def anchors(name):
    """The anchors of a page's headings, as GitHub makes them."""
    prose = re.sub(FENCED.format(r"\w*"), "", text(name))
    headings = (heading.lower() for heading in re.findall(r"(?m)^#+ (.+)$", prose))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}


def first_column(name, heading):
    """The entries of a page's tables under a heading of their first column."""
    tables = re.findall(rf"(?m)^\| {heading} \|.*\n((?:\|.*\n)+)", text(name))
    return {row for table in tables for row in re.findall(r"(?m)^\| `([^`]+)` \|", table)}


def codes(error=errors.GatewayError):
    """Every code of an error."""
    return {getattr(error, "code", "")}.union(*(codes(child) for child in error.__subclasses__()))


@pytest.mark.parametrize("name", NAMES)
def test_every_relative_link_leads_somewhere(name):
    for target in re.findall(r"\]\(([^)\s]+)\)", text(name)):
        path, _, anchor = target.partition("#")
        if not re.match(r"https?://", target):
            linked = ((ROOT / name).parent / path).resolve() if path else ROOT / name
            assert linked.exists(), target
            assert not anchor or anchor in anchors(linked.relative_to(ROOT)), target


def test_every_page_is_reached_from_the_readme():
    linked = set(re.findall(r"\]\((docs/[^)#]+)", text("README.md")))
    assert linked == {name for name in NAMES if name.startswith("docs/")}


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_that_is_named_exists(name):
    known = {variable for variable, _ in settings.names()}
    assert set(re.findall(r"IMAGEGATE_[A-Z_]*[A-Z]", text(name))) <= known


def test_every_error_code_in_a_table_of_codes_exists():
    listed = {name: first_column(name, "code") for name in NAMES}
    assert listed["docs/errors.md"]
    assert set().union(*listed.values()) <= codes() | FRAMEWORK_CODES


def test_every_event_of_the_log_is_documented_and_no_other():
    logged = set()
    for path in (ROOT / "app").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="logger")),
                    args=[ast.Constant(value=event), *_],
                ):
                    logged.add(event)
    assert first_column("docs/operations.md", "event") == logged


def test_every_metric_is_documented_and_no_other():
    families = text_string_to_metric_families(metrics.exposition().decode())
    ours = {
        f"{each.name}_total" if each.type == "counter" else each.name
        for each in families
        if each.name.startswith("imagegate_")
    }
    assert first_column("docs/operations.md", "metric") == ours


def test_every_path_of_the_api_is_on_its_page():
    page = text("docs/http-api.md").replace("$ID", "{image_id}")
    for path in json.loads(text("openapi/openapi.json"))["paths"]:
        assert f"localhost:8080{path}" in page, path


class TestKafka:
    def test_the_examples_of_events_are_as_the_gateway_writes_them(self):
        blocks = re.findall(FENCED.format("json"), text("docs/kafka.md"))
        examples = [json.loads(block) for block in blocks if "specversion" in block]
        signing = events.SigningBegan((120, 98, 131))
        written_ones = (facts.stored(), facts.deleted(), facts.moved(2, 1), signing)
        for example, event in zip(examples, written_ones, strict=True):
            record = events.encode(event)
            written = json.loads(record.value)
            assert list(example) == list(written)
            assert list(example.get("data", {})) == list(written.get("data", {}))
            record = replace(record, value=json.dumps(example).encode())
            read = events.decode(facts.as_stored(record))
            assert type(read) is type(event)
            assert getattr(read, "image_id", "a" * 32) == example["subject"]

    def test_every_header_of_a_record_is_documented_and_no_other(self):
        cookie, data = bytes(12), memoryview(bytes(30))
        base64 = ValueEncoding.BASE64
        chunks = list(records.encoded_chunks(cookie, data, 10, base64))
        info = facts.info(
            content_encoding="lepton",
            owner="key:1",
            visibility="owner",
            expires_at=4_000_000_000,
            source="door",
        )
        places = [Position(0, 1)] * len(chunks)
        head = records.head_record(cookie, data, info, 10, places, facts.claimed().claim, base64)
        head = Signatures({"k1": bytes(32)}).sign(IMAGES, head)
        key = ImageKey(bytes(32), WrappedKey("k1", "A" * 56))
        shredded = ImageKey(bytes(32), Address(Position(0, 1), cookie))
        seal = records.sealed_head(cookie, info, 10, None, shredded)
        chunks.append(records.head_record(cookie, data, info, 10, (), None, base64, seal))
        seal = records.sealed_head(cookie, info, 10, None, key)
        chunks += records.encoded_chunks(cookie, data, 10, base64, seal)
        chunks.append(records.head_record(cookie, data, info, 10, (), None, base64, seal))
        written = {name for record in (head, *chunks) for name, _ in record.headers}
        assert first_column("docs/kafka.md", "header") == written
