"""A picture, a clip or an item in, hits out: query, candidates by vectors, rerank by pixels, cursor."""
