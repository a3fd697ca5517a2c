"""For every test: hypothesis judges what comes out, not how long it took. Tests never time."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
