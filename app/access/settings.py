"""Settings of access: where the keys are."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from app.section import Section

KEYS_NAME = "keys.json"


class AccessSettings(Section):
    """Who may use the gateway."""

    keys_file: Path | None = Field(
        None,
        description=f"file of API keys, as `imagegate keys` writes it; by default `{KEYS_NAME}` in"
        " the data folder",
    )
