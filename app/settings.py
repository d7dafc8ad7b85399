"""All settings: the sections of the rooms, read from the variables `IMAGEGATE_…`.

Hides where settings come from. Each room gets its own section, never the whole. Sections nest by
two underscores: `IMAGEGATE_KAFKA__BOOTSTRAP_SERVERS`. An unknown name is an error that suggests
one that is near. `docs/configuration.md` lists them all.
"""

from __future__ import annotations

import difflib
import os
import re
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.access.settings import AccessSettings
from app.api.settings import ConnectionSettings, SiteSettings
from app.codec.settings import CodecSettings
from app.delivery.settings import DeliverySettings
from app.errors import ConfigurationError
from app.imaging.settings import ImagingSettings
from app.ingest.settings import BodySettings, UploadSettings
from app.limits.settings import LimitSettings
from app.log.kafka.settings import KafkaSettings
from app.sealing.settings import SealingSettings
from app.section import DELIMITER, PREFIX, Section, variable
from app.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

# Of two words, a letter more or less or in another place; another word is further.
_NEAR = 0.7

# Beginnings of pydantic's messages, which follow the name of the variable here.
_BEGINNING = re.compile(r"(Value error, |Input (?=should)|String (?=should))")


class _Http(SiteSettings, ConnectionSettings, BodySettings, ServerSettings):
    """`IMAGEGATE_HTTP__…`: the sections of the server, upload bodies, connections and web sites."""


class _Imaging(CodecSettings, ImagingSettings):
    """`IMAGEGATE_IMAGING__…`: the sections of imaging and of the codec workers."""


class Settings(BaseSettings):
    """Everything that can be set."""

    # Without decoding, lists in the environment are separated by commas and not JSON.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=DELIMITER,
        enable_decoding=False,
        extra="forbid",
        frozen=True,
    )

    data_dir: Path = Field(
        Path("data"), description="folder of the embedded log and of the catalog"
    )

    @field_validator("data_dir", mode="before")
    @classmethod
    def _check_named(cls, folder: str | Path) -> str | Path:
        if not str(folder):
            raise ValueError("should not be empty")
        return folder

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="lowest level that is logged: debug, info, warning or error"
    )
    http: _Http = _Http()
    access: AccessSettings = AccessSettings()
    upload: UploadSettings = UploadSettings()
    imaging: _Imaging = _Imaging()
    delivery: DeliverySettings = DeliverySettings()
    limits: LimitSettings = LimitSettings()
    kafka: KafkaSettings = KafkaSettings()
    sealing: SealingSettings = SealingSettings()


def load(**overrides: Any) -> Settings:
    """Read the settings from the environment.

    Args:
        overrides: Sections as dictionaries, or values; each wins over the environment.

    Raises:
        ConfigurationError: A name is unknown, or a value is not allowed.
    """
    _refuse_unknown_names()
    try:
        return Settings(**overrides)
    except ValidationError as error:
        # Without the value, which may be a password.
        problems = [
            f"{_place(problem['loc'])}: {_BEGINNING.sub('', problem['msg'])}"
            for problem in error.errors(include_url=False, include_input=False)
        ]
        raise ConfigurationError("; ".join(problems)) from error


def _place(location: tuple[int | str, ...]) -> str:
    """Return the variable that a problem is in, and, if that holds a list, where in the list."""
    names = [str(each) for each in takewhile(lambda each: isinstance(each, str), location)]
    within = [f"entry {each + 1}" if isinstance(each, int) else each for each in location]
    return ", ".join([variable(*names), *within[len(names) :]])


def names() -> Iterator[tuple[str, Any]]:
    """Yield the environment variable and the pydantic field of every setting."""
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, Section):
            for inner, inner_field in type(field.default).model_fields.items():
                yield variable(name, inner), inner_field
        else:
            yield variable(name), field


def _refuse_unknown_names() -> None:
    known = {name for name, _ in names()}
    for name in os.environ:
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            raise ConfigurationError(f"{name} is not a setting. {_suggestion(name.upper(), known)}")


def _suggestion(name: str, known: Collection[str]) -> str:
    # All names begin alike, which would make any two of them near.
    rests = {each.removeprefix(PREFIX): each for each in known}
    near = difflib.get_close_matches(name.removeprefix(PREFIX), rests, n=1, cutoff=_NEAR)
    if near:
        return f"Did you mean {rests[near[0]]}?"
    return "docs/configuration.md lists them all."
