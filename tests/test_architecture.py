"""The map of the code is true: what it names exists, and what exists is named."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

import app

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/architecture.md").read_text("utf-8")
# Each text with the folders that its paths may start from.
MAPS = {
    "app/__init__.py": (app.__doc__, (ROOT / "app", ROOT)),
    "docs/architecture.md": (PAGE, (ROOT,)),
    "CONTRIBUTING.md": ((ROOT / "CONTRIBUTING.md").read_text("utf-8"), (ROOT,)),
}
FOLDERS = r"app|bench|dev|docs|openapi|requirements|tests|\.ci"


def paths(text):
    """What a text names as a path: Python files, and anything below a folder of the repository."""
    names = re.findall(rf"(?<![\w./-])(?:(?:[\w-]+/)*\w+\.py\b|(?:{FOLDERS})/[\w./-]*)", text)
    return {name.rstrip(".") for name in names}


def missing(text, *starts):
    return {name for name in paths(text) if not any((start / name).exists() for start in starts)}


def rooms():
    """Every folder of the application with Python files."""
    return {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "app").rglob("*.py")}


def layers():
    """The layers of pyproject.toml, from the top down, each with the names of its packages."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    [contract] = [
        each for each in project["tool"]["importlinter"]["contracts"] if each["type"] == "layers"
    ]
    return [re.findall(r"\w+", layer) for layer in contract["layers"]]


def imports(path):
    """Everything that a file imports, by its whole name; relative ones begin with a dot."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{each.name}" for each in node.names)


@pytest.mark.parametrize("name", MAPS)
def test_every_path_that_a_map_names_exists(name):
    text, starts = MAPS[name]
    assert paths(text)
    assert missing(text, *starts) == set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("`app/nowhere.py` is", {"app/nowhere.py"}),
        ("[a link](docs/nowhere.md#part).", {"docs/nowhere.md"}),
        ("    ingset/ingest.py  order", {"ingset/ingest.py"}),
        ("in tests/nowhere/.", {"tests/nowhere/"}),
        ("`app/main.py`, a https://example.org/app/elsewhere.py, and `/images`", set()),
    ],
)
def test_a_path_that_does_not_exist_is_found_in_every_form(text, found):
    assert missing(text, ROOT) == found


def test_every_room_is_on_the_page():
    assert {room for room in rooms() if f"`{room}/`" not in PAGE} == set()


def test_every_room_of_the_top_is_on_the_map():
    top = {path.name for path in (ROOT / "app").iterdir() if (path / "__init__.py").exists()}
    assert {name for name in top if f" {name}/" not in app.__doc__} == set()


def test_the_page_draws_the_layers_that_are_checked():
    [drawn] = re.findall(r"(?ms)^## The layers\n.*?^```text\n(.*?)^```", PAGE)
    assert [re.findall(r"\w+", line) for line in drawn.splitlines()] == layers()


def test_the_map_fits_a_terminal_of_100_columns():
    assert max(map(len, app.__doc__.splitlines())) <= 100


def test_no_test_module_imports_another_or_a_conftest():
    files = (ROOT / "tests").rglob("*.py")
    imported = {
        (path.relative_to(ROOT).as_posix(), name) for path in files for name in imports(path)
    }
    assert {each for each in imported if re.match(r"\.|tests\b(?!\.support\.)", each[1])} == set()
