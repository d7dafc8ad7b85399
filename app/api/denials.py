"""The lines in the log for denials: who was denied what, from where, and why.

What somebody without a credential can have a thousand times a second is logged once a second with a
count: the line of each `request` has the code and the client too. A denial of somebody known has a
line of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from app.access.principal import ANONYMOUS
from app.api import logged
from app.client import address_in, client_in
from app.errors import (
    CredentialRequiredError,
    ImageNotFoundError,
    InsufficientScopeError,
    InvalidCredentialError,
    InvalidLinkError,
    LinkExpiredError,
)
from app.telemetry import metrics
from app.telemetry.tally import Tally

if TYPE_CHECKING:
    from starlette.types import Scope

    from app.errors import GatewayError, RateLimitedError

logger = structlog.get_logger(__name__)

_limited = Tally()
_refused = Tally()
_denied = Tally()
_KINDS = (
    CredentialRequiredError,
    InvalidCredentialError,
    InsufficientScopeError,
    InvalidLinkError,
    LinkExpiredError,
)


def is_denial(error: GatewayError) -> bool:
    """Tell whether an error denies somebody what others may."""
    return isinstance(error, _KINDS) or (isinstance(error, ImageNotFoundError) and error.is_foreign)


def log(error: GatewayError, asgi: Scope) -> None:
    """Count that the request in this ASGI scope is denied; log it, once a second of strangers."""
    metrics.REQUESTS_REFUSED.labels("access").inc()
    principal = asgi["state"].get("principal")
    is_stranger = principal is None or principal is ANONYMOUS
    if not (count := _denied.add(error.code) if is_stranger else 1):
        return
    logger.warning(
        "access_denied",
        code=error.code,
        detail=error.detail,
        method=asgi["method"],
        path=logged.path_of(asgi),
        principal=principal.name if principal else "",
        client=address_in(asgi),
        request_id=asgi["state"]["request_id"],
        count=count,
    )


def log_refused(reason: str, error: GatewayError, asgi: Scope, **more: str) -> None:
    """Count that a request is refused; log it once a second for each reason, with `more` fields."""
    metrics.REQUESTS_REFUSED.labels(reason).inc()
    if count := _refused.add(reason):
        logger.warning(
            "request_refused",
            reason=reason,
            code=error.code,
            detail=error.detail,
            **more,
            client=client_in(asgi),
            request_id=asgi["state"]["request_id"],
            count=count,
        )


def log_limited(error: RateLimitedError, asgi: Scope) -> None:
    """Count that the client of a request is at a limit; log it once a second for each limit."""
    metrics.REQUESTS_LIMITED.labels(error.limit).inc()
    principal = asgi["state"].get("principal")
    if count := _limited.add(error.limit):
        logger.warning(
            "request_limited",
            limit=error.limit,
            code=error.code,
            principal=principal.name if principal else "",
            client=address_in(asgi),
            request_id=asgi["state"]["request_id"],
            count=count,
        )
