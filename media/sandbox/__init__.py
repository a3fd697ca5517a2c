"""Decoding in separate processes with limits, so that a bad file costs itself and nothing else."""

from .pool import Sandbox

__all__ = ["Sandbox"]
