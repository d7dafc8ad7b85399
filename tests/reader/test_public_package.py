"""The surface of the package `imagegate`: what programs may rely on."""

import inspect
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

import imagegate
from app.log.kafka.settings import KafkaSettings
from app.reader.options import first_ms
from app.reader.reading import shard_of
from app.sealing.settings import SealingSettings
from imagegate import Image, ImageReader, KafkaOptions, ReadOptions, SealingOptions
from tests.support.facts import image_id

ROOT = Path(__file__).parents[2]
# Of writing, or of how the log is named.
NOT_OF_A_READER = {
    "bootstrap_servers",
    "partitions",
    "producers",
    "append_timeout_seconds",
    "value_encoding",
    "erasure",
}


def test_the_package_has_these_names_and_no_other():
    assert imagegate.__all__ == [
        "ConfigurationError",
        "DigestMismatchError",
        "GatewayError",
        "Image",
        "ImageGoneError",
        "ImageReader",
        "KafkaOptions",
        "KeyUnavailableError",
        "LogUnavailableError",
        "NewerVersionError",
        "ReadOptions",
        "RecordDamagedError",
        "SealingOptions",
        "Start",
        "TurnLostError",
    ]
    public = {name for name in vars(imagegate) if not name.startswith("_")}
    assert public == set(imagegate.__all__)


def test_a_reader_has_these_members_and_options():
    assert members(ImageReader) == {"commit", "end", "from_settings"}
    assert [*inspect.signature(ImageReader).parameters] == [
        "bootstrap_servers",
        "group_id",
        "start",
        "shard",
        "source",
        "auto_commit",
        "follow",
        "state_dir",
        "session_timeout_seconds",
        "handling_timeout_seconds",
        "log",
    ]
    named = {"bootstrap_servers", "group_id", "log"}
    assert ReadOptions.__annotations__.keys() == (
        inspect.signature(ImageReader).parameters.keys() - named
    )


def test_an_image_has_these_members():
    assert members(Image) == {"bytes", "chunks", "facts", "open"}


def test_every_setting_of_kafka_but_those_of_writing_is_an_option():
    settings = KafkaSettings.model_fields.keys() - NOT_OF_A_READER
    assert KafkaOptions.__annotations__.keys() == settings


def test_every_setting_of_encryption_is_an_option():
    assert SealingOptions.__annotations__.keys() == {
        f"sealing_{name}" for name in SealingSettings.model_fields
    }


def test_the_shard_of_an_image_is_the_documented_one_for_ever():
    assert [shard_of(image_id(number), 5) for number in range(8)] == [0, 2, 4, 0, 4, 0, 3, 4]


def test_a_time_is_that_of_the_first_millisecond_that_is_not_before_it():
    second = datetime(2026, 11, 26, 10, 0, 0, tzinfo=UTC)
    whole = int(second.timestamp()) * 1000
    assert first_ms(second) == whole
    assert first_ms(second + timedelta(microseconds=1)) == whole + 1
    assert first_ms(second - timedelta(microseconds=1)) == whole
    assert first_ms(second.astimezone(timezone(timedelta(hours=5)))) == whole


def test_importing_it_loads_neither_the_server_nor_the_settings():
    program = "import imagegate, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    assert not {"fastapi", "uvicorn", "starlette", "pydantic_settings"} & set(loaded)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*build, "--no-index", "--wheel-dir", folder, ROOT], check=True)
    [built] = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_package_with_its_mark_for_types(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    files = {
        path.relative_to(ROOT).as_posix()
        for package in ("app", "imagegate")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files <= names
    assert "imagegate/py.typed" in names


def test_a_program_that_uses_it_passes_strict_mypy(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import asyncio\n"
        "from imagegate import ImageReader\n\n\n"
        "async def main() -> None:\n"
        "    reader = ImageReader(bootstrap_servers='b:1', group_id='g', shard=(0, 2))\n"
        "    async with reader as images:\n"
        "        async for image in images:\n"
        "            data: bytes = await image.bytes()\n"
        "            print(image.id.upper(), len(data), image.created_at.year)\n\n\n"
        "asyncio.run(main())\n"
    )
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", "", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (checked.returncode, checked.stdout) == (
        0,
        "Success: no issues found in 1 source file\n",
    )


def members(kind):
    return {name for name in vars(kind) if not name.startswith("_")}
