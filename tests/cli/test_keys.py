"""`imagegate keys`: make, list and revoke API keys."""

import json
import os
import re
import subprocess
import sys

import pytest

from app.access import api_key
from app.cli import main as cli
from app.telemetry import logs

KEY = re.compile(r"ig_([0-9A-Za-z]{11})_[0-9A-Za-z]{43}\n")


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run the command in an empty folder; returns its status and what it printed."""
    monkeypatch.setattr(logs, "configure", lambda _: None)
    monkeypatch.chdir(tmp_path)

    def main(*arguments):
        try:
            status = cli.main(["keys", *arguments])
        except SystemExit as ended:
            status = ended.code
        return status, *capsys.readouterr()

    return main


def new(run, *options):
    status, out, _ = run("new", "--name", "camera-7", "--scope", "images:write", *options)
    assert status == 0
    return KEY.fullmatch(next(line for line in out.splitlines(keepends=True) if "ig_" in line))[1]


def test_a_key_is_printed_alone_on_a_line_of_standard_output(tmp_path):
    program = [sys.executable, "-m", "app", "keys", "new", "--name", "a", "--scope", "admin"]
    environment = os.environ | {"IMAGEGATE_DATA_DIR": str(tmp_path / "data")}
    ran = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    assert KEY.fullmatch(ran.stdout)
    made = json.loads(ran.stderr)
    assert (made["event"], made["name"], made["scopes"]) == ("key_made", "a", ["admin"])
    assert ran.stdout.strip().rpartition("_")[2] not in ran.stderr


def test_keys_are_listed_without_their_secrets_and_revoked_for_good(run, tmp_path):
    first = new(run, "--scope", "images:read", "--expires", "90d")
    second = new(run)
    _, out, _ = run("list")
    rows = {line.split()[0]: line for line in out.splitlines() if "ID " not in line}
    assert "valid" in rows[first]
    assert "never" not in rows[first]
    assert rows[first].endswith("camera-7                  images:read images:write")
    assert "never" in rows[second]
    assert not re.search(r"[0-9A-Za-z]{43}", out)
    for _ in range(2):
        assert run("revoke", first)[0] == 0
    _, out, _ = run("list")
    assert "revoked" in next(line for line in out.splitlines() if first in line)
    stored = json.loads((tmp_path / "data/keys.json").read_text())["keys"]
    assert [bool(each["revoked_at"]) for each in stored] == [True, False]


def test_the_first_key_is_made_once(run):
    new(run, "--first")
    status, out, err = run("new", "--first", "--name", "b", "--scope", "admin")
    assert status == 0
    assert "ig_" not in out
    assert "There are keys already" in err


def test_a_setting_names_another_file(run, monkeypatch, tmp_path):
    monkeypatch.setenv("IMAGEGATE_ACCESS__KEYS_FILE", str(tmp_path / "secrets/keys"))
    key_id = new(run)
    assert key_id in (tmp_path / "secrets/keys").read_text()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["new", "--name", "a b", "--scope", "admin"], "--name"),
        (["new", "--name", "a", "--scope", "everything"], "everything"),
        (["new", "--name", "a"], "--scope"),
        (["new", "--name", "a", "--scope", "admin", "--expires", "soon"], "--expires"),
        (["new", "--name", "a", "--scope", "admin", "--expires", "999999y"], "--expires"),
        (["revoke", "unknown"], "unknown"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(run, options, word, tmp_path):
    status, _, err = run(*options)
    assert status == 2
    assert word in err
    assert not list(tmp_path.glob("data/keys.json*"))


def test_a_file_that_is_none_of_keys_is_left_alone(run, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/keys.json").write_text('{"keys": 1}')
    status, _, err = run("new", "--name", "a", "--scope", "admin")
    assert status == 2
    assert "keys.json" in err
    assert (tmp_path / "data/keys.json").read_text() == '{"keys": 1}'


def test_commands_at_once_all_count(tmp_path):
    program = [sys.executable, "-m", "app", "keys", "new", "--name", "a", "--scope", "admin"]
    environment = os.environ | {"IMAGEGATE_DATA_DIR": str(tmp_path)}
    running = [
        subprocess.Popen(
            program, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        for _ in range(4)
    ]
    for each in running:
        assert each.communicate()[1]
        assert each.returncode == 0
    assert len(json.loads((tmp_path / "keys.json").read_text())["keys"]) == 4


def test_secrets_are_long_and_never_the_same():
    made = {api_key.new() for _ in range(100)}
    assert len({secret for _, secret in made}) == len({key_id for key_id, _ in made}) == 100
    for key_id, secret in made:
        assert api_key.parse(api_key.text_of(key_id, secret)) == (key_id, secret)
