"""A bundle, the folder that a server loads: its manifest, card and canary, read, checked and written. No torch."""

from .bundle import (
    CANARY,
    CARD,
    fingerprint_of,
    load_canary,
    record_calibration,
    record_quality,
    require_unaltered,
    save_canary,
    sha256_of,
    write_with_card,
)
from .manifest import (
    MANIFEST,
    NORM_OF_MEAN,
    POOLING,
    STAGES_POOLED,
    EngineFile,
    Manifest,
    read_manifest,
    write_manifest,
)
from .swap import put_in_place
