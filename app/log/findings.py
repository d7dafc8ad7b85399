"""Findings of an examination: the vocabulary of `imagegate doctor` and `imagegate topics`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


# The finding on a topic that the first start creates.
MISSING = "is missing"


class Level(StrEnum):
    """How bad a finding is.

    A warning is about something that works, and is less safe than it might be. With something
    wrong, the gateway does not start, or does not work.
    """

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """A fact about one part of a deployment.

    `remedy` is a sentence or a command that says what to do; empty where nothing has to be done.
    """

    level: Level
    subject: str
    found: str
    remedy: str = ""


def is_wrong(findings: Sequence[Finding]) -> bool:
    """Tell whether one of the findings is wrong."""
    return any(finding.level is Level.WRONG for finding in findings)


def as_table(findings: Sequence[Finding]) -> str:
    """Return a line for each finding, with its remedy in the next line, and a line of totals."""
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
