"""schemathesis against a gateway, with all its checks and phases: `make schemathesis`.

Not in `make test`: it sends a thousand requests, for fifteen seconds.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.credentials import make_key
from tests.support.gateway_process import GatewayProcess
from tests.support.generated import DOCUMENT, LINTERS

# On two cores; ten times as long elsewhere.
SECONDS = 150


def test_every_answer_is_as_the_document_says(tmp_path):
    key = make_key(tmp_path, "admin")
    seed = os.environ.get("TEST_SEED", "1")
    command = [Path(sys.executable).with_name("st"), "--config-file", LINTERS / "schemathesis.toml"]
    command += ["run", DOCUMENT, "--seed", seed, "--no-color"]
    with GatewayProcess(tmp_path, IMAGEGATE_IMAGING__WORKERS=1) as gateway:
        gateway.start()
        result = subprocess.run(
            [*command, "--url", gateway.url],
            cwd=tmp_path,
            env=os.environ | {"IMAGEGATE_KEY": key},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        assert gateway.mistakes() == []
