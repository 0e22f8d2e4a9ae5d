"""The HTTP layer: it translates between requests and the engine, and decides nothing."""
