"""bytes -> Frames -> pixels. The ground floor: knows nobody above it, and no model."""
