"""The log on Apache Kafka. Nothing outside this package imports aiokafka."""
