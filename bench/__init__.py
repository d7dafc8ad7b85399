"""What the gateway costs beside the bare things that it is made of; `make bench` runs it all."""
