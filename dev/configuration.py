"""Print docs/configuration.md from the settings and their descriptions."""

from typing import Any

from pydantic_core import PydanticUndefined

from app import settings

INTRODUCTION = """\
# Configuration

imagegate is configured by environment variables. Two underscores separate a section from a name in
it. The options of `imagegate serve` (`--host`, `--port`, `--data-dir`, `--kafka`) win over them. A
name that begins with `IMAGEGATE_` and is not in this table is an error at start, and so is a value
that is not allowed.

`make docs` writes this page from the `settings.py` of each room, which `app/settings.py` composes.

| variable | default | what it sets |
| --- | --- | --- |
"""

AFTER = """
An address that other machines can reach is refused without an [API key](access.md), unless with
`imagegate serve --insecure`.
"""


def document() -> str:
    """Return the page."""
    rows = [
        f"| `{name}` | {_default(field)} | {field.description} |"
        for name, field in settings.names()
    ]
    return INTRODUCTION + "\n".join(rows) + "\n" + AFTER


def _default(field: Any) -> str:
    if field.default is PydanticUndefined:
        return "computed"
    if field.default in (None, "", ()):
        return "unset" if field.default is None else "empty"
    default = field.default
    return f"`{','.join(default) if isinstance(default, tuple) else default}`"


if __name__ == "__main__":
    print(document(), end="")
