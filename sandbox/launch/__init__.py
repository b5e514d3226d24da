"""Act: how to start, watch and wait for a Plan and an Invocation."""
