"""Are two pictures, or two stretches of film, the same? Alignment of vectors, evidence of pixels, confidence.

Opens no database and writes nothing.
"""
