"""openapi/asyncapi.yaml, and the comparison of what is written with what it describes."""

import copy
import functools
import json
import re
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

OPENAPI = Path(__file__).parents[2] / "openapi"
FILE = OPENAPI / "asyncapi.yaml"
EVENTS = OPENAPI / "events"


def _matches(_, pattern, instance, __):
    # As ECMA-262 reads it: Python's `$` also matches before a line break at the end.
    if isinstance(instance, str) and not re.search(pattern.replace("$", r"\Z"), instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


Validator = extend(Draft202012Validator, {"pattern": _matches})


@functools.cache
def load(path):
    text = path.read_text("utf-8")
    return yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text)


def resolved(node, path=FILE):
    """Return a node of a document with every reference replaced by its target."""
    if isinstance(node, list):
        return [resolved(each, path) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" not in node:
        return {name: resolved(each, path) for name, each in node.items()}
    name, _, pointer = node["$ref"].partition("#")
    path = (path.parent / name) if name else path
    found = load(path)
    for part in pointer.split("/")[1:]:
        found = found[part]
    return resolved(found, path)


DOCUMENT = resolved(load(FILE))


def closed(schema):
    """Return a schema that refuses members which it does not describe."""
    closed_one = copy.deepcopy(schema)
    for each in _nodes(closed_one):
        if isinstance(each.get("properties"), dict) and "type" in each:
            each["additionalProperties"] = False
    return closed_one


def _nodes(node):
    for inner in node.values() if isinstance(node, dict) else node:
        if isinstance(inner, dict | list):
            yield from _nodes(inner)
    if isinstance(node, dict):
        yield node


def _described(schema):
    """Yield the place of each member that a schema describes."""
    for choice in schema.get("anyOf", ()):
        yield from _described(choice)
    if "contentSchema" in schema:
        yield from _described(schema["contentSchema"])
    for name, member in schema.get("properties", {}).items():
        yield (name,)
        yield from ((name, *place) for place in _described(member))


def _written(schema, value):
    """Yield the place of each member of a value, that of JSON in a text too."""
    if "contentSchema" in schema:
        value = json.loads(value)
        Validator(closed(schema["contentSchema"])).validate(value)
    if isinstance(value, dict):
        for name, member in value.items():
            yield (name,)
            inner = schema.get("properties", {}).get(name, {})
            yield from ((name, *place) for place in _written(inner, member))


class Message:
    """A kind of message, by its headers, its payload and the key of its record."""

    def __init__(self, described):
        self.content_type = described["contentType"]
        key = described.get("bindings", {}).get("kafka", {}).get("key", True)
        self._schemas = {
            "headers": described["headers"],
            "payload": described["payload"],
            "key": key,
        }

    @property
    def is_json(self):
        return "json" in self.content_type

    @property
    def places(self):
        """The place of each header and member that is described."""
        return {
            (part, *place)
            for part in ("headers", "payload")
            for place in _described(self._schemas[part])
        }

    def fits(self, parts):
        """Tell whether these parts could be a message of this kind, members beyond it included."""
        return all(Validator(self._schemas[part]).is_valid(parts[part]) for part in parts)

    def check(self, parts):
        """Check that the parts are described whole; return the place of each of their members."""
        for part, value in parts.items():
            Validator(closed(self._schemas[part]) if part != "key" else True).validate(value)
        return {
            (part, *place)
            for part in ("headers", "payload")
            for place in _written(self._schemas[part], parts[part])
        }


class Comparison:
    """The messages of a channel, compared with those that were really written.

    Attributes:
        written: By the name of a message, what of it was written: headers and members.
        values: By the names of a message and of a header or member, each value that was written.
    """

    def __init__(self, channel):
        described = DOCUMENT["channels"][channel]["messages"]
        self.messages = {name: Message(each) for name, each in described.items()}
        self.written = {name: set() for name in self.messages}
        self.values = {}

    def add_record(self, record):
        """Compare a record of Kafka or of the embedded log."""
        headers = {name: value.decode() for name, value in record.headers}
        assert len(headers) == len(record.headers)
        self.add(headers, bytes(record.value), key=record.key.decode())

    def add(self, headers, value, **more):
        """Compare a message: exactly one description has to fit, and to describe it whole."""
        fitting = [
            (name, parts)
            for name, message in self.messages.items()
            if message.fits(
                parts := {"headers": headers, "payload": _payload(message, value)} | more
            )
        ]
        assert len(fitting) == 1, (headers, value[:2_000], [name for name, _ in fitting])
        [(name, parts)] = fitting
        self.written[name] |= self.messages[name].check(parts)
        members = parts["payload"] if self.messages[name].is_json else {}
        for each, said in (*headers.items(), *members.items()):
            self.values.setdefault((name, each), set()).add(str(said))

    def unwritten(self):
        """Return what is described, and was never written."""
        return {
            (name, *place)
            for name, message in self.messages.items()
            for place in message.places - self.written[name]
        }


def _payload(message, value):
    return json.loads(value) if message.is_json else value.decode("latin-1")
