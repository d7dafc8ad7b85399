"""A real Apache Kafka from Maven's jars: no container engine and no installation needed."""
