"""A collection as files to keep or to take elsewhere: snapshots, verification, exchange with other tools."""
