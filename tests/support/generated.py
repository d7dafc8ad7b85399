"""Clients as a team would generate them, from openapi/openapi.json, each in a folder of its own.

Hides the generators and compilers. docs/clients.md has the same commands; a test says so.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from dev.maven import Jars, java

ROOT = Path(__file__).parents[2]
HERE = ROOT / "tests/clients"
DOCUMENT = ROOT / "openapi/openapi.json"
# The generator runs on Java 11.
GENERATOR = Jars(ROOT / "dev/openapi/pom.xml", java_minimum=11)
NODE_MODULES = ROOT / "dev/openapi/node_modules"
SECONDS = 300
# The generator ends before optimised code has paid for its compilation: 3.8 s of CPU instead of
# 6.4 s.
JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

PYTHON_GENERATE = (
    "openapi-python-client generate --path openapi.json --output-path imagegate_client --meta none"
)
TYPESCRIPT_GENERATE = (
    "java -jar openapi-generator-cli-{version}.jar generate -g typescript-fetch"
    " -i openapi.json -o imagegate-client"
)
TYPESCRIPT_COMPILE = (
    "tsc --strict --target es2022 --module nodenext --types node --outDir out upload.mts"
)

# The generator's own file, the same for every document: it hands `*args: object` to httpx.
_MYPY = "[mypy]\n[mypy-imagegate_client.client]\ndisable_error_code = arg-type\n"


class ToolError(AssertionError):
    """A generator, compiler or client has failed; the message is its output."""


@dataclass(slots=True)
class Client:
    """A generated client, compiled, with its script; `said` has the output of the tools."""

    folder: Path
    program: list[str]
    said: dict[str, str] = field(default_factory=dict)

    def run(self, url, key):
        """Run the script against a gateway; return its output."""
        return run([*self.program, url, key], self.folder)


def run(command, folder, **environment):
    """Run a command in a folder; return its output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PATH": path} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if result.returncode:
        raise ToolError(f"{' '.join(map(str, command))}\n{result.stdout}")
    return result.stdout


def python(folder):
    """Generate the Python client, and compile it."""
    shutil.copy(DOCUMENT, folder)
    shutil.copy(HERE / "upload.py", folder)
    said = run(PYTHON_GENERATE.split(), folder)
    run([sys.executable, "-W", "error", "-m", "compileall", "-q", "imagegate_client"], folder)
    return Client(folder, [sys.executable, "upload.py"], {"generate": said})


def check_types(client):
    """Check the types of the Python client and of the script that uses it."""
    cache = ROOT / ".mypy_cache/clients"
    (client.folder / "mypy.ini").write_text(_MYPY)
    options = ["--strict", "--config-file=mypy.ini", f"--cache-dir={cache}"]
    return run([sys.executable, "-m", "mypy", *options, "upload.py"], client.folder)


def typescript(folder):
    """Generate the TypeScript client, and compile it."""
    shutil.copy(DOCUMENT, folder)
    shutil.copy(HERE / "upload.mts", folder)
    jars = GENERATOR.fetch()
    command = TYPESCRIPT_GENERATE.format(version=generator_version()).split()
    command[0], command[2] = java(), str(jars / command[2])
    said = run(command, folder, JDK_JAVA_OPTIONS=JAVA_OPTIONS)
    _, *options = TYPESCRIPT_COMPILE.split()
    # Where `npm install` would have put them.
    (folder / "node_modules").symlink_to(install_node_modules())
    run(["node", NODE_MODULES / "typescript/bin/tsc", *options], folder)
    return Client(folder, ["node", "out/upload.mjs"], {"generate": said})


def generator_version():
    """Tell which openapi-generator dev/openapi/pom.xml names."""
    return GENERATOR.version("openapi-generator.version")


def install_node_modules():
    """Return the folder with the packages of dev/openapi/package-lock.json."""
    target = NODE_MODULES.relative_to(ROOT) / ".package-lock.json"
    run(["make", "--silent", target], ROOT, MAKEFLAGS="")
    return NODE_MODULES


def missing_tools():
    """Say what this machine lacks for the TypeScript client; empty when nothing."""
    missing = [f"no {tool}" for tool in ("node", "npm") if shutil.which(tool) is None]
    return missing + GENERATOR.missing_tools()
