"""Images out of Kafka for any program, without a gateway: the public API is `imagegate`."""
