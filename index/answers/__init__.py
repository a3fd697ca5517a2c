"""Judging the whole product: edited pictures and clips asked of a collection, with known truth, beside rivals.

material   which files of a library are indexed, asked for, and left out
stills     the pictures that are asked; judge: what is answered to each after each edit
clips      parts of clips, edited and joined
copies     duplicates looked for among different pictures and made copies
rivals     perceptual hashes that answer the same questions
report     answers as shares by edit
evaluate   all of it, step by step
"""

from .evaluate import ASKED, PRODUCT, Bench, Wish, evaluate
