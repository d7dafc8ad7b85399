"""Clients as a team would generate them, from openapi/openapi.json, each in a folder of its own.

Hides how generators, compilers and programs are found and run. docs/clients/ has the same commands
and programs; a test says so.
"""

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from dev.maven import Jars, java

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "tests/clients/programs"
DOCUMENT = ROOT / "openapi/openapi.json"
# The generator runs on Java 11.
GENERATOR = Jars(ROOT / "dev/openapi/pom.xml", java_minimum=11)
GENERATOR_VERSION = GENERATOR.version("openapi-generator.version")
# The linters have a newer TypeScript than some generators can use.
LINTERS, GENERATORS = ROOT / "dev/openapi", ROOT / "dev/sdks"
SECONDS = 900
# The generator ends before optimised code has paid for its compilation: 3.8 s of CPU instead of
# 6.4 s.
JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

# The generator's own file, the same for every document: it hands `*args: object` to httpx.
_MYPY = "[mypy]\n[mypy-imagegate_client.client]\ndisable_error_code = arg-type\n"


class ToolError(AssertionError):
    """A generator, compiler or client has failed; the message is its output."""


@dataclass(frozen=True, slots=True)
class Sdk:
    """A generated client: its commands, as docs/clients/ has them, for a program in `PROGRAMS`.

    Args:
        name: Folder of the program.
        language: Its language, and its page.
        generate: Commands that make the client of openapi.json.
        compile: Commands that compile it with the program.
        start: The command that runs the program; a URL and an API key follow.
        tools: Programs that it takes beside Python.
        packages: Folder whose npm packages it takes.
        environment: Variables for compiler and program.
    """

    name: str
    language: str
    generate: tuple[str, ...]
    start: str
    compile: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    packages: Path | None = None
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def commands(self):
        return (*self.generate, *self.compile)

    def missing(self):
        """Say what this machine lacks for it; empty when nothing."""
        missing = [f"no {tool}" for tool in self.tools if shutil.which(tool) is None]
        jar = any(command.startswith("java -jar") for command in self.generate)
        return missing + (GENERATOR.missing_tools() if jar else [])


@dataclass(frozen=True, slots=True)
class Client:
    """A generated client, compiled, with its program; `said` is what its generator printed."""

    sdk: Sdk
    folder: Path
    said: str

    def run(self, *arguments):
        """Run the program; return its output."""
        return _run(self.sdk, f"{self.sdk.start} {' '.join(arguments)}", self.folder)


def make(sdk, folder):
    """Generate a client in an empty folder, and compile it."""
    shutil.copytree(PROGRAMS / sdk.name, folder, dirs_exist_ok=True)
    shutil.copy(DOCUMENT, folder)
    if sdk.packages:
        # Where `npm install` would have put them.
        (folder / "node_modules").symlink_to(install_packages(sdk.packages))
    said = "".join(_run(sdk, command, folder) for command in sdk.generate)
    for command in sdk.compile:
        _run(sdk, command, folder)
    return Client(sdk, folder, said)


def check_types(client):
    """Check the types of a Python client and of the program that uses it."""
    cache = ROOT / ".mypy_cache/clients"
    (client.folder / "mypy.ini").write_text(_MYPY)
    options = ["--strict", "--config-file=mypy.ini", f"--cache-dir={cache}"]
    return run([sys.executable, "-m", "mypy", *options, "upload.py"], client.folder)


def install_packages(folder):
    """Return the folder with the packages of a package-lock.json."""
    modules = folder / "node_modules"
    target = modules.relative_to(ROOT) / ".package-lock.json"
    run(["make", "--silent", target], ROOT, MAKEFLAGS="")
    return modules


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


def _run(sdk, command, folder):
    return run(_found(shlex.split(command), folder), folder, **dict(sdk.environment))


def _found(words, folder):
    """Return a command with what it names where it is on this machine."""
    match words:
        case ["java", "-jar", jar, *rest]:
            return [java(), *JAVA_OPTIONS.split(), "-jar", str(GENERATOR.fetch() / jar), *rest]
        case ["java", *rest]:
            return [java(), *rest]
        case ["npx", tool, *rest]:
            return [str(folder / "node_modules/.bin" / tool), *rest]
        case ["python", *rest]:
            return [sys.executable, *rest]
    return words
