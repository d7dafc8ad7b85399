"""The broker's jars: those that pom.xml names.

They need a Java that Kafka 4 accepts (https://kafka.apache.org/documentation/#java: brokers
need 17).
"""

from pathlib import Path

from dev.maven import Jars

JARS = Jars(Path(__file__).with_name("pom.xml"), java_minimum=17)


def kafka_version() -> str:
    """Tell which Apache Kafka pom.xml names."""
    return JARS.version("kafka.version")
