"""The catalog: one SQLite file a collection, the one source of truth.

Items and their frames, the ledger of files, jobs, dismissals, and filters as SQL. Knows nothing else of the index.
"""
