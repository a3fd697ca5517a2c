"""The kinds of background jobs, as the catalog names them."""

INGEST = "ingest"  # an uploaded video
DUPLICATES = "duplicates"
REEMBED = "reembed"
SCAN = "scan"
FILL_PICTURES = "fill-pictures"
