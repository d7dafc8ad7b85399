"""The programs of docs/kafka.md, made from the page's text, that read an image out of Kafka.

Hides how each is built, and the tools it needs. Each takes broker, topic, id and the file to write.
The modules of the one in Go are those of tests/kafka/go/, by their hashes; the jars of those in
Java are the broker's.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from dev.kafka.broker import ARCHIVE
from dev.kafka.jars import JARS
from dev.maven import java

PAGE = (Path(__file__).parents[2] / "docs/kafka.md").read_text("utf-8")
GO_MODULE = Path(__file__).parents[1] / "kafka/go"
# The first build of Go's standard library and franz-go takes two busy cores 80 s, later ones 2 s.
_BUILD_SECONDS, _RUN_SECONDS = 300, 60
# A program ends before optimised code has paid for its compilation.
_JVM_OPTIONS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_CONSOLE_CONSUMER = "kafka-console-consumer.sh"
# The commands that each program is built and run by.
TOOLS = {
    "kcat": ("bash", "kcat", "base32", "openssl"),
    "console consumer": ("bash", "base32", "openssl"),
    "go": ("go",),
    "java": ("javac",),
}


class UnavailableError(Exception):
    """The program cannot be built here; the message says what is missing."""


class Program:
    """A built program, and how its user starts it."""

    def __init__(self, command, path=""):
        self.command = command
        self.path = path

    def run(self, *arguments):
        """Run it; return what became of it."""
        return run([*self.command, *arguments], PATH=f"{self.path}{os.environ['PATH']}")


def build(name, folder):
    """Build one of the programs in a folder.

    Raises:
        UnavailableError: A tool or a module is missing.
    """
    if missing := [tool for tool in TOOLS[name] if shutil.which(tool) is None]:
        raise UnavailableError(f"no {', no '.join(missing)}")
    return _BUILDERS[name](folder)


def blocks(language):
    """Return the page's blocks of code in a language."""
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", PAGE)


def console_consumer(folder):
    """Write Kafka's own script, which starts Java with Kafka's jars, and this one's options."""
    jars = JARS.fetch()
    archive = f"-XX:SharedArchiveFile={jars / ARCHIVE}"
    options = " ".join([*_JVM_OPTIONS, archive, f"-cp '{jars}/*'"])
    path = folder / _CONSOLE_CONSUMER
    main = "org.apache.kafka.tools.consumer.ConsoleConsumer"
    path.write_text(f'#!/bin/sh\nexec "{java()}" {options} {main} "$@"\n')
    path.chmod(0o755)
    return f"{folder}{os.pathsep}"


def run(command, *, cwd=None, seconds=_RUN_SECONDS, **environment):
    return subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=seconds,
        check=False,
    )


def _kcat(folder):
    return _script(folder, blocks("bash")[0])


def _console_consumer(folder):
    script, functions = blocks("bash")
    head, kept = re.split(r"(?m)^record\(\).*?(?=^value\(\))", script, flags=re.DOTALL)
    return _script(folder, head + functions + kept, path=console_consumer(folder))


def _script(folder, text, path=""):
    (folder / "read_image.sh").write_text(text)
    return Program(["bash", folder / "read_image.sh"], path)


def _go(folder):
    for name in ("go.mod", "go.sum"):
        shutil.copy(GO_MODULE / name, folder)
    (folder / "main.go").write_text(*blocks("go"))
    options = {"GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off"}
    fetched = run(["go", "mod", "download"], cwd=folder, seconds=_BUILD_SECONDS, **options)
    if fetched.returncode:
        raise UnavailableError(f"no modules: {fetched.stderr.decode()}")
    _succeed(["go", "build", "-o", "read_image"], folder, **options)
    return Program([folder / "read_image"])


def _java(folder):
    (folder / "ReadImage.java").write_text(*blocks("java"))
    jars = JARS.fetch()
    _succeed(["javac", "-Xlint:all", "-Werror", "-cp", f"{jars}/*", "ReadImage.java"], folder)
    archive = f"-XX:SharedArchiveFile={jars / ARCHIVE}"
    return Program([java(), *_JVM_OPTIONS, archive, "-cp", f"{jars}/*:{folder}", "ReadImage"])


def _succeed(command, folder, **options):
    done = run(command, cwd=folder, seconds=_BUILD_SECONDS, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout.decode()}{done.stderr.decode()}"


_BUILDERS = {"kcat": _kcat, "console consumer": _console_consumer, "go": _go, "java": _java}
