"""For every test: hypothesis judges what comes out, not how long it took. Tests never time.

For the same reason bundles run in the one engine that needs no measuring, unless a test asks for another.
"""

import os

from hypothesis import settings

os.environ["VICMAE_ENGINE"] = "onnxruntime-fp32"
os.environ["VICMAE_DEVICE"] = "cpu"
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
