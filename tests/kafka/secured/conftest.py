"""Fixtures of the tests that run a gateway, or its log, on a secured broker."""

import pytest

from tests.support.gateway_process import new_gateway
from tests.support.token_server import serving

__all__ = ["new_gateway"]


@pytest.fixture
def token_server(secured):
    with serving(secured.issuer) as server:
        yield server
