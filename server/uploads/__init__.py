"""Uploaded files on their way into a collection."""
