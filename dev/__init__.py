"""Programs that developers and the tests run beside the gateway; never installed with it."""
