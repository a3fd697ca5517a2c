"""Pretraining and judging. Knows `model`, `media`, and `export` to hand over a bundle."""
