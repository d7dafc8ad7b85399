"""What an examination of a deployment finds: the vocabulary of `imagegate doctor` and `topics`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


# Of a topic that the first start creates.
MISSING = "is missing"


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"  # it works, and is less safe than it might be
    WRONG = "wrong"  # the gateway does not start, or does not work


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    `remedy` is what to do about it: a sentence, or a command; empty where nothing has to be done.
    """

    level: Level
    subject: str
    found: str
    remedy: str = ""


def is_wrong(findings: Sequence[Finding]) -> bool:
    """Tell whether anything is."""
    return any(finding.level is Level.WRONG for finding in findings)


def as_table(findings: Sequence[Finding]) -> str:
    """Return a line for each finding, its remedy in a line below, and what they come to."""
    width = max(len(finding.subject) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:<7}  {finding.subject:<{width}}  {finding.found}")
        if finding.remedy:
            lines.append(f"{'':<7}  {'':<{width}}  -> {finding.remedy}")
    counts = ", ".join(
        f"{sum(finding.level is level for finding in findings)} {level}" for level in Level
    )
    return "\n".join([*lines, "", counts])


def as_json(findings: Sequence[Finding]) -> str:
    """Return a JSON array of objects with the fields of `Finding`."""
    return json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False)
