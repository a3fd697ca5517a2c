"""Which items of a collection are copies of one another: blocking, comparison, report."""
