"""`imagegate` as a process that ends by itself, in an environment that a test names."""

import os
import subprocess
import sys

from tests.support import forked

SECONDS = 120


def start(*arguments, **environment):
    """Start it without waiting for its end."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("IMAGEGATE_")}
    arguments = [str(each) for each in arguments]
    environment = clean | {name: str(value) for name, value in environment.items()}
    if forked.POSSIBLE:
        return forked.start(arguments, environment)
    return subprocess.Popen(
        [sys.executable, "-m", "app", *arguments],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def run(*arguments, status=0, **environment):
    """Run it to its end, and return what it printed."""
    process = start(*arguments, **environment)
    with process.stdout:
        output = process.stdout.read()
    assert process.wait(SECONDS) == status, output
    return output
