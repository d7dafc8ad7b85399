"""Settings of limits: how much one principal, and one address, may use."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from app.section import Section

_PRINCIPAL, _ADDRESS = "of one principal", "of one address, an IPv6 network of 64 bits"


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
    principal_requests: float = Field(
        1_000, ge=0, description=f"requests a second {_PRINCIPAL}; 0: no limit, here and below"
    )
    address_requests: float = Field(1_000, ge=0, description=f"requests a second {_ADDRESS}")
    principal_bytes: int = Field(
        100_000_000, ge=0, description=f"bytes a second {_PRINCIPAL}, up and down together"
    )
    address_bytes: int = Field(100_000_000, ge=0, description=f"bytes a second {_ADDRESS}")
    principal_bytes_in_flight: int = Field(
        128_000_000, ge=0, description=f"bytes of all uploads at once {_PRINCIPAL}, as announced"
    )
    address_bytes_in_flight: int = Field(
        128_000_000, ge=0, description=f"bytes of all uploads at once {_ADDRESS}"
    )
    principal_worker_seconds: float = Field(
        0, ge=0, description=f"seconds of codec workers, each second, {_PRINCIPAL}"
    )
    address_worker_seconds: float = Field(
        0, ge=0, description=f"seconds of codec workers, each second, {_ADDRESS}"
    )
    principal_uploads: int = Field(200, ge=0, description=f"uploads at once {_PRINCIPAL}")
    address_uploads: int = Field(200, ge=0, description=f"uploads at once {_ADDRESS}")
    principal_connections: int = Field(
        2_000,
        ge=0,
        description=f"requests at once, streams among them, {_PRINCIPAL}; for an address see"
        " `IMAGEGATE_HTTP__CLIENT_CONNECTIONS`",
    )
    principal_images: int = Field(0, ge=0, description=f"images stored {_PRINCIPAL}")
    principal_bytes_stored: int = Field(0, ge=0, description=f"bytes stored {_PRINCIPAL}")

    @property
    def given(self) -> Self:
        """The limits that are set, without the defaults."""
        defaults = type(self).model_fields.keys() - self.model_fields_set - {"window_seconds"}
        return self.model_copy(update=dict.fromkeys(defaults, 0))
