"""Files in, items in a collection: scan, read, embed, write; also watching folders and re-embedding."""
