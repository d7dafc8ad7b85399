"""The broker's jars, as pom.xml names them.

Kafka 4's brokers need Java 17: https://kafka.apache.org/documentation/#java.
"""

from pathlib import Path

from dev.maven import Jars

JARS = Jars(Path(__file__).with_name("pom.xml"), java_minimum=17)


def kafka_version() -> str:
    """Return the version of Apache Kafka that pom.xml names."""
    return JARS.version("kafka.version")
