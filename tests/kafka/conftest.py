"""Fixtures of the tests that run a gateway, or its log, on a Kafka broker."""

from tests.gateway_process import log_settings, new_gateway

__all__ = ["log_settings", "new_gateway"]
