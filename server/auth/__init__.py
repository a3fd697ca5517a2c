"""API keys: their file, the scopes that requests need, how often a key may ask, and the verbs `vicmae keys`."""
