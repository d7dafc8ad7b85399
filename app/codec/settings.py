"""Settings of the codec workers: how many, and what one image may cost."""

from __future__ import annotations

import os
from enum import StrEnum

from pydantic import Field

from app.section import Seconds, Section

# A container may be allowed fewer CPUs than the machine has; Linux tells.
_HAS_AFFINITY = hasattr(os, "sched_getaffinity")


class Sandbox(StrEnum):
    """How far the workers have to be confined."""

    AUTO = "auto"  # as far as the kernel can
    REQUIRED = "required"  # wholly, or the gateway does not start
    OFF = "off"  # a way out where a library needs a system call that is not allowed


class CodecSettings(Section):
    """The worker processes, and their limits."""

    workers: int = Field(
        default_factory=lambda: (
            len(os.sched_getaffinity(0)) if _HAS_AFFINITY else os.cpu_count() or 1
        ),
        ge=1,
        le=256,
        description="codec processes; by default one for each CPU",
    )
    deadline_seconds: Seconds = Field(
        10,
        description="how much time of a CPU a worker may use for one image before it is killed; by"
        " the clock it may take three times as long",
    )
    queue_seconds: Seconds = Field(
        10, description="how long an image waits for a worker before its upload gets 503"
    )
    memory_bytes: int = Field(
        2_000_000_000,
        ge=100_000_000,
        le=2**40,
        description="address space of one worker (RLIMIT_AS)",
    )
    sandbox: Sandbox = Field(
        Sandbox.AUTO,
        description="`auto` confines the workers as far as the kernel can; `required` refuses to"
        " start where it cannot wholly; `off` only to find out whether the sandbox is in the way",
    )
