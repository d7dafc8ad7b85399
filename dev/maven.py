"""Jars that Maven copies, and the Java to run them with: for development only.

Maven copies the jars that a pom.xml names into a directory named after that file's content: a
changed pom gets another directory, and a directory that exists is complete, because it is renamed
into place. Fetching needs `mvn`. Only the standard library is imported: `make kafka` runs this
before anything is installed.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).parents[1] / ".jars"
# 54 MB over a slow line; with a warm repository, 5 s.
FETCH_TIMEOUT_SECONDS = 900


class JarsUnavailableError(Exception):
    """Maven could not copy the jars, most often without a network."""


@dataclass(frozen=True, slots=True)
class Jars:
    """The jars that a pom.xml names, and the oldest Java that runs them."""

    pom: Path
    java_minimum: int

    def directory(self) -> Path:
        """Return the directory of the jars; once it exists, it is complete."""
        digest = hashlib.sha256(self.pom.read_bytes()).hexdigest()
        return CACHE / f"{self.pom.parent.name}-{digest[:12]}"

    def version(self, name: str) -> str:
        """Return the value of the pom's property of this name."""
        found = re.search(rf"<{re.escape(name)}>(.+?)</", self.pom.read_text())
        if found is None:
            raise ValueError(f"{self.pom} has no {name}")
        return found[1]

    def missing_tools(self) -> list[str]:
        """Return what this machine lacks to run them, a short phrase each.

        Maven is needed only while the jars are missing.
        """
        missing = []
        version = _java_version()
        if version is None:
            missing.append(f"no working java (>= {self.java_minimum})")
        elif version < self.java_minimum:
            missing.append(f"java {version} is older than {self.java_minimum}")
        if not self.directory().is_dir() and shutil.which("mvn") is None:
            missing.append("no mvn")
        return missing

    def fetch(self) -> Path:
        """Return the directory of the jars; if it is missing, one process at a time fills it.

        Raises:
            JarsUnavailableError: Maven is missing, or failed.
        """
        directory = self.directory()
        if directory.is_dir():
            return directory
        CACHE.mkdir(exist_ok=True)
        with (CACHE / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not directory.is_dir():
                self._copy_dependencies(directory)
        return directory

    def _copy_dependencies(self, directory: Path) -> None:
        with tempfile.TemporaryDirectory(dir=CACHE, prefix="fetching-") as scratch:
            copied = Path(scratch, "jars")
            command = ["mvn", "-q", "-B", "-f", str(self.pom), "dependency:copy-dependencies"]
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
                raise JarsUnavailableError(f"Maven did not copy the jars: {error}") from error
            if result.returncode != 0:
                tail = "\n".join(result.stdout.splitlines()[-10:])
                raise JarsUnavailableError(f"Maven could not copy the jars:\n{tail}")
            copied.rename(directory)


def java() -> str:
    """Return the Java of JAVA_HOME, as Kafka's own scripts do, or the one on the path."""
    home = os.environ.get("JAVA_HOME")
    return str(Path(home, "bin", "java")) if home else "java"


def _java_version() -> int | None:
    """Return Java's major version; None without one that runs (macOS has a stub that does not)."""
    try:
        result = subprocess.run(
            [java(), "-version"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # 'openjdk version "17.0.15" …'; up to Java 8 it was "1.8.0_392".
    found = re.search(r'version "(?:1\.)?(\d+)', result.stderr)
    return int(found[1]) if found else None
