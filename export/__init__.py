"""Checkpoint -> bundle, and running a bundle. `bundle` and the engines import no torch."""
