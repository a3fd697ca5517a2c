"""From media to vectors: decoding, the batcher in front of the engine, the check of the running engine."""
