"""Vectors, and what they are vectors of: catalog, collections, scans. Knows `export` (engine) and `media`."""
