"""Settings of limits: how much one principal, and one address, may use."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field

from app.section import Section

# One in a million seconds. Less is a mistake, and its window too long for the header to say.
_LEAST_RATE = 0.000_001
# Integers of a header have 15 digits (RFC 9651, section 3.3.1), also of what a window allows.
_MOST_A_SECOND, _MOST = 10**11, 10**15 - 1

_PRINCIPAL, _ADDRESS = "of one principal", "of one address, an IPv6 network of 64 bits"


def _possible(rate: float) -> float:
    if 0 < rate < _LEAST_RATE:
        raise ValueError(f"should be 0, for no limit, or {_LEAST_RATE:f} or more")
    return rate


_Rate = Annotated[
    float, Field(ge=0, le=_MOST_A_SECOND, allow_inf_nan=False), AfterValidator(_possible)
]
_Bytes = Annotated[int, Field(ge=0, le=_MOST_A_SECOND)]
_Count = Annotated[int, Field(ge=0, le=_MOST)]


class LimitSettings(Section):
    """Limits of one client, in this process. 0 stands for no limit.

    One that is set is always in force, a default only where clients need a credential.
    """

    window_seconds: int = Field(
        10,
        ge=1,
        le=3600,
        description="how many seconds' worth of a rate a client may use at once, after a rest",
    )
    principal_requests: _Rate = Field(
        1_000, description=f"requests a second {_PRINCIPAL}; 0: no limit, here and below"
    )
    address_requests: _Rate = Field(1_000, description=f"requests a second {_ADDRESS}")
    principal_bytes: _Bytes = Field(
        100_000_000, description=f"bytes a second {_PRINCIPAL}, up and down together"
    )
    address_bytes: _Bytes = Field(100_000_000, description=f"bytes a second {_ADDRESS}")
    principal_bytes_in_flight: _Count = Field(
        128_000_000, description=f"bytes of all uploads at once {_PRINCIPAL}, as announced"
    )
    address_bytes_in_flight: _Count = Field(
        128_000_000, description=f"bytes of all uploads at once {_ADDRESS}"
    )
    principal_worker_seconds: _Rate = Field(
        0, description=f"seconds of codec workers, each second, {_PRINCIPAL}"
    )
    address_worker_seconds: _Rate = Field(
        0, description=f"seconds of codec workers, each second, {_ADDRESS}"
    )
    principal_uploads: _Count = Field(200, description=f"uploads at once {_PRINCIPAL}")
    address_uploads: _Count = Field(200, description=f"uploads at once {_ADDRESS}")
    principal_connections: _Count = Field(
        2_000,
        description=f"requests at once, streams among them, {_PRINCIPAL}; for an address see"
        " `IMAGEGATE_HTTP__CLIENT_CONNECTIONS`",
    )
    principal_images: _Count = Field(0, description=f"images stored {_PRINCIPAL}")
    principal_bytes_stored: _Count = Field(0, description=f"bytes stored {_PRINCIPAL}")

    @property
    def given(self) -> Self:
        """The limits that are set, without the defaults."""
        defaults = type(self).model_fields.keys() - self.model_fields_set - {"window_seconds"}
        return self.model_copy(update=dict.fromkeys(defaults, 0))
