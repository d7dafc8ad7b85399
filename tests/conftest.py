"""Fixtures that every group of tests uses."""

pytest_plugins = ["tests.kafka_fixtures"]
