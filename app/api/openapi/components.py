"""Components of the document: written inline beside an operation, listed once.

Hides how the document refers to them. A reference carries its component until the document gathers
all, so that none is listed which no operation uses: linters would complain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.api.headers import RequestHeader, ResponseHeader

_PLACEHOLDER = "x-reference"


class Reference(dict[str, Any]):
    """A reference in the document, with the component that it leads to.

    Args:
        kind: Kind of the component, such as `schemas` or `headers`.
        name: Its name among those of its kind.
        component: The part of the document that it stands for.
    """

    def __init__(self, kind: str, name: str, component: dict[str, Any]) -> None:
        super().__init__({"$ref": f"#/components/{kind}/{name}"})
        self.kind, self.name, self.component = kind, name, component


def sent(*headers: ResponseHeader) -> dict[str, Reference]:
    """Return the `headers` of a response that has these."""
    return {
        each.name: Reference(
            "headers",
            each.component,
            {
                "description": each.description,
                "required": each.required,
                "schema": {"type": "string"},
                "example": each.example,
            },
        )
        for each in headers
    }


def read(*headers: RequestHeader) -> list[Reference]:
    """Return the `parameters` of an operation that reads these."""
    return [
        Reference(
            "parameters",
            each.name,
            {
                "name": each.name,
                "in": "header",
                "description": each.description,
                "required": False,
                # The description again, as FastAPI has it: some generators look only there.
                "schema": each.schema | {"description": each.description},
            },
        )
        for each in headers
    ]


def example(name: str, summary: str, value: Any) -> dict[str, Reference]:
    """Return the `examples` of a body that has this one."""
    return {name: Reference("examples", name, {"summary": summary, "value": value})}


def following(parameters: dict[str, str], *operations: str) -> dict[str, dict[str, Any]]:
    """Return the `links` of a response that leads to these operations.

    Args:
        parameters: Their parameters, each with an expression that finds it in the response.
        operations: Their ids.
    """
    return {each: {"operationId": each, "parameters": parameters} for each in operations}


def leading_to(reference: Reference) -> dict[str, Any]:
    """Return the `json_schema_extra` of a field whose schema is this component.

    Pydantic refuses references that are not its own: `refer` puts it in place.
    """
    return {_PLACEHOLDER: reference["$ref"]}


def refer(node: Any) -> Any:
    """Return a part of the document with the references of fields in place."""
    if isinstance(node, dict):
        if _PLACEHOLDER in node:
            return {"$ref": node[_PLACEHOLDER]}
        return {key: refer(inner) for key, inner in node.items()}
    if isinstance(node, list):
        return [refer(inner) for inner in node]
    return node


def gather(node: object) -> Iterator[Reference]:
    """Yield every reference in a part of the document, and those in what they lead to."""
    if isinstance(node, Reference):
        yield node
        yield from gather(node.component)
    elif isinstance(node, dict):
        for inner in node.values():
            yield from gather(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from gather(inner)
