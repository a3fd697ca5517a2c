"""Edits of pictures as training sees them: `edit` makes them, `mild` the clean side of a pair, `overlay_bank` what is
laid over; `Edits` says how often and how far."""

from .edit import edit, mild
from .overlays import overlay_bank
from .settings import Edits

__all__ = ["Edits", "edit", "mild", "overlay_bank"]
