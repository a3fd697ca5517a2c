"""The background worker, and what each kind of job does."""
