"""The base of every settings section, and the names of settings in the environment.

Each room defines its own section in a `settings.py`; `app.settings` composes and loads them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

PREFIX = "IMAGEGATE_"
DELIMITER = "__"
# An address that secrets and keys may be fetched from: nobody on the way can read or change them.
SAFE_URL = r"^(https://\S+|http://(127\.0\.0\.1|localhost|\[::1\])([:/]\S*)?)$"

Seconds = Annotated[float, Field(gt=0, le=600)]


class Section(BaseModel):
    """A group of settings that belong to one room."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def variable(*path: str) -> str:
    """Return the name of the environment variable for a setting, such as `("http", "port")`."""
    return PREFIX + DELIMITER.join(path).upper()


def split_list(given: str) -> list[str]:
    """Return the entries of a list as a variable has it: separated by commas."""
    return [each.strip() for each in given.split(",")] if given else []
