"""The broker's jars, and the tools that fetch and run them.

Maven copies what pom.xml names into a directory called after that file's content: a changed pom is
another directory, and a directory that exists is complete, because it is renamed into place. It
refuses to fetch without `mvn` and to run on a Java older than Kafka 4 accepts
(https://kafka.apache.org/documentation/#java: brokers need 17).
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

POM = Path(__file__).with_name("pom.xml")
CACHE = Path(__file__).parents[2] / ".kafka"
JAVA_MINIMUM = 17
# 54 MB over a slow line; with a warm repository it is 5 s.
FETCH_TIMEOUT_SECONDS = 900


class JarsUnavailableError(Exception):
    """Maven could not copy the jars: no network, most often."""


def kafka_version() -> str:
    """Tell which Apache Kafka pom.xml names."""
    found = re.search(r"<kafka\.version>(.+?)</kafka\.version>", POM.read_text())
    if found is None:
        raise ValueError(f"{POM} has no kafka.version")
    return found[1]


def missing_tools() -> list[str]:
    """Say what this machine lacks to run a broker, a short phrase each; empty when nothing.

    Maven is asked for only while the jars are not there yet.
    """
    missing = []
    version = _java_version()
    if version is None:
        missing.append(f"no working java (>= {JAVA_MINIMUM})")
    elif version < JAVA_MINIMUM:
        missing.append(f"java {version} is older than {JAVA_MINIMUM}")
    if not jars_directory().is_dir() and shutil.which("mvn") is None:
        missing.append("no mvn")
    return missing


def java() -> str:
    """Return the Java to start: JAVA_HOME's, as Kafka's own scripts do, or the one on the path."""
    home = os.environ.get("JAVA_HOME")
    return str(Path(home, "bin", "java")) if home else "java"


def jars_directory() -> Path:
    """Return where the jars lie, or will: once it exists, it is complete."""
    return CACHE / f"jars-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"


def fetch_jars() -> Path:
    """Return the directory with the jars, filled first if need be; one process fetches at a time.

    Raises:
        JarsUnavailableError: Maven is missing, or did not manage.
    """
    directory = jars_directory()
    if directory.is_dir():
        return directory
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.is_dir():
            _copy_dependencies(directory)
    return directory


def _copy_dependencies(directory: Path) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="fetching-") as scratch:
        copied = Path(scratch, "jars")
        command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={copied}"]
        try:
            result = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=FETCH_TIMEOUT_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise JarsUnavailableError(f"Maven did not copy the Kafka jars: {error}") from error
        if result.returncode != 0:
            tail = "\n".join(result.stdout.splitlines()[-10:])
            raise JarsUnavailableError(f"Maven could not copy the Kafka jars:\n{tail}")
        copied.rename(directory)


def _java_version() -> int | None:
    """Ask Java for its major version; None when there is none that runs (macOS has such a stub)."""
    try:
        result = subprocess.run(
            [java(), "-version"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # 'openjdk version "17.0.15" …'; up to Java 8 it was "1.8.0_392".
    found = re.search(r'version "(?:1\.)?(\d+)', result.stderr)
    return int(found[1]) if found else None
