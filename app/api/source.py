"""The parameter `source` of lists and streams: only images from one camera or device."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import AfterValidator

from app.api import examples
from app.api.given import or_default
from app.imaging.names import MAX_SOURCE_CHARACTERS, source_of

Source = Annotated[
    Annotated[str, AfterValidator(source_of)] | None,
    Query(
        max_length=MAX_SOURCE_CHARACTERS,
        description="Only images from this camera or device, as their uploads said.",
        examples=[examples.SOURCE],
    ),
    or_default(),
]
