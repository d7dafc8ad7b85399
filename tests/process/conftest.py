"""Fixtures of the tests that run a gateway as a process."""

from tests.support.gateway_process import log_settings, new_gateway

__all__ = ["log_settings", "new_gateway"]
