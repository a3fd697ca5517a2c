"""HTTP: bytes in, hits out. Knows `index`, `export` and `media`."""
