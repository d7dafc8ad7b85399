"""Imports point one way (a table of layers), and each foreign library has its rooms."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the top down; a module may import its own layer and those below it, never above.
LAYERS = [
    {"cli", "__main__"},
    {"server", "http_protocol"},
    {"main"},
    {"api"},
    {"problems", "ingest", "delivery", "feed", "live", "doctor"},
    {
        "records",
        "events",
        "catalog",
        "codec_pool",
        "cache",
        "budget",
        "dead_letters",
        "erasure",
        "expiry",
    },
    {"imaging", "address", "log", "codec_process", "codec_worker"},
    {"errors", "settings", "telemetry", "data_folder", "findings", "repeating"},
    {""},
]

# A library, and the only modules that may import it.
ROOMS = {
    "fastapi": {"main", "problems", "server", "api", "http_protocol"},
    "starlette": {"main", "problems", "server", "api", "http_protocol"},
    "uvicorn": {"server", "http_protocol"},
    "python_multipart": {"api"},
    "aiokafka": {"log.kafka"},
    "PIL": {"imaging"},
    "sqlite3": {"catalog", "log.sqlite"},
    "pydantic_settings": {"settings"},
    "argparse": {"cli"},
}
ENGINES = {"log.kafka", "log.sqlite"}


def module_name(path):
    parts = path.relative_to(ROOT / "app").with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


PATHS = {module_name(path): path for path in (ROOT / "app").rglob("*.py")}


def imports_of(tree):
    """Every absolute name that is imported anywhere in a module, types included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they lead"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


IMPORTS = {
    name: set(imports_of(ast.parse(path.read_text("utf-8")))) for name, path in PATHS.items()
}


def ours(name):
    """The modules of `app` that a module imports."""
    found = set()
    for imported in IMPORTS[name]:
        parts = imported.split(".")
        if parts[0] == "app":
            whole, parent = ".".join(parts[1:]), ".".join(parts[1:-1])
            found.add(whole if whole in PATHS else parent)
    return found - {name}


def within(name, places):
    return any(name == place or name.startswith(f"{place}.") for place in places)


def layer(name):
    [found] = [rank for rank, names in enumerate(LAYERS) if name.partition(".")[0] in names]
    return found


@pytest.mark.parametrize("name", sorted(PATHS))
def test_a_module_has_one_layer_and_imports_downwards_only(name):
    upwards = {imported for imported in ours(name) if layer(imported) < layer(name)}
    assert not upwards


@pytest.mark.parametrize("library", ROOMS)
def test_a_foreign_library_is_imported_in_its_rooms_and_nowhere_else(library):
    users = {name for name in PATHS if any(i.partition(".")[0] == library for i in IMPORTS[name])}
    assert users, "nobody imports it any longer"
    assert {name for name in users if not within(name, ROOMS[library])} == set()


def test_only_the_wiring_knows_which_log_there_is():
    knowing = {
        name
        for name in PATHS
        if not within(name, ENGINES) and any(within(each, ENGINES) for each in ours(name))
    }
    assert knowing == {"main"}


def test_there_is_no_import_cycle():
    graph = {name: ours(name) for name in PATHS}
    while free := [name for name, imported in graph.items() if not imported]:
        for name in free:
            del graph[name]
        graph = {name: imported - set(free) for name, imported in graph.items()}
    assert not graph


def test_the_table_names_no_module_that_is_gone():
    tops = {name.partition(".")[0] for name in PATHS}
    assert set().union(*LAYERS) == tops
