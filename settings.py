"""Settings, read once at the edge: flags > environment VICMAE_* > vicmae.toml > these defaults.

Every limit of the program stands here with its unit in its name. Rooms below the command line and the server
never read the environment: they are handed values.
"""

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from .errors import InvalidRequest

SHIPPED_BUNDLE = Path(__file__).parent / "export" / "bundles" / "vicmae-lite"


def default_data_dir() -> Path:
    """The user's data folder (XDG): where collections live when nobody says otherwise."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "vicmae"


class Settings(BaseSettings):
    """One value per dial. Field names are the environment names (VICMAE_PORT) and the keys of vicmae.toml."""

    model_config = SettingsConfigDict(env_prefix="VICMAE_", toml_file="vicmae.toml", extra="forbid")

    data: Path = Field(default_factory=default_data_dir, description="folder in which collections live")
    bundle: Path = Field(SHIPPED_BUNDLE, description="folder of the model bundle to run")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 lets the system choose")
    threads: int = Field(0, ge=0, description="CPU threads of the engine; 0 uses every core")
    device: str = Field("auto", description="where the engine runs: auto, cpu, cuda, cuda:N or tensorrt")
    engine: str = Field("auto", description="auto, fastest, or one by its name such as onnxruntime-fp32")
    log_format: Literal["text", "json"] = Field("text", description="log lines for people, or JSON for machines")
    shutdown_seconds: int = Field(30, ge=1, description="time for requests under way when told to stop")
    open_telemetry: bool = Field(False, description="send traces and metrics as OTEL_EXPORTER_OTLP_* say (extra otel)")
    canary_seconds: float = Field(600.0, ge=0, description="between two checks of the engine's vectors; 0 for none")

    frames_per_second: float = Field(2.0, gt=0, le=60, description="frames embedded per second of video")
    sampling: Literal["rate", "keyframes", "shots", "auto"] = Field(
        "rate", description="frames of a video: at that rate; auto: also each shot's first; shots: those; or keyframes"
    )
    frame_store: bool = Field(True, description="keep a small picture of every stored frame")
    frame_store_max_bytes: int = Field(
        0, ge=0, description="bytes of such pictures in a collection, from which on none are kept; 0 for no bound"
    )
    max_upload_bytes: int = Field(4 * 2**30, gt=0, description="largest request body")
    max_pixels: int = Field(200_000_000, gt=0, description="largest picture or video frame, width x height")
    max_duration_seconds: float = Field(
        6 * 3600.0, gt=0, description="longest video that is sent, or part of one that is read"
    )
    max_frames: int = Field(50_000, gt=0, description="most frames sampled from one file")
    max_query_seconds: float = Field(120.0, gt=0, description="longest clip accepted as a query")
    verify_budget_seconds: float = Field(
        5.0, ge=0, description="after which a search looks at no further picture; 0: at none"
    )
    max_batch_inputs: int = Field(256, gt=0, description="most inputs in one embeddings request")
    max_limit: int = Field(1000, gt=0, description="largest page of items or hits")
    max_json_bytes: int = Field(64 * 2**20, gt=0, description="largest JSON request body")
    decode_workers: int = Field(4, ge=1, description="most processes that decode files at once")
    decode_memory_bytes: int = Field(
        4 * 2**30, gt=0, description="data that a decoding process may hold; a file that takes more is refused"
    )
    decode_timeout_seconds: float = Field(
        60.0, gt=0, description="longest time for which a file may give no further frame"
    )
    hardware_decoding: Literal["auto", "off"] = Field(
        "auto", description="use a video decoder of the graphics processor where there is one"
    )
    library_roots: str = Field("", description="folders that may be scanned over HTTP, such as /photos:/films")
    max_collections: int = Field(1000, gt=0, description="most collections that the server makes")
    key_requests_per_second: float = Field(
        100.0, gt=0, description="how often a key may ask, unless it was made with a rate of its own"
    )
    fetch_hosts: str = Field("", description="hosts that media may be fetched from, such as a.org,*.b.org:8443")
    fetch_private_hosts: str = Field("", description="those of them that may lead into private networks")
    max_fetch_bytes: int = Field(64 * 2**20, gt=0, description="most bytes fetched for one request")
    max_fetch_seconds: float = Field(20.0, gt=0, description="longest time spent fetching for one request")
    batch_wait_seconds: float = Field(
        0.002, ge=0, le=1, description="longest wait of a free engine for a picture that is being decoded"
    )
    index_kind: Literal["auto", "exact", "ivf"] = Field(
        "auto",
        description="how vectors are searched; exact: all compared; ivf: in lists; auto: ivf where they are many",
    )
    min_recall: float = Field(
        0.99, ge=0, le=1, description="share of the nearest vectors to be found, as measured when a segment is built"
    )
    index_device: str = Field(
        "cpu", description="graphics card that holds the server's sealed vectors too: cpu (none), auto, cuda or cuda:N"
    )
    index_device_kind: Literal["flat", "ivf", "cagra"] = Field(
        "flat", description="how vectors are searched on that card"
    )
    index_device_bytes: int = Field(4 * 2**30, gt=0, description="memory of that card that vectors may take")
    max_queue: int = Field(64, gt=0, description="most requests decoding or waiting for the model at once")

    @field_validator("index_kind", mode="before")
    @classmethod
    def _no_graphs(cls, kind: object) -> object:
        if kind == "hnsw":
            raise ValueError("hnsw is gone since lists find as much; leave index_kind out, or say auto, exact or ivf")
        return kind

    @property
    def engine_options(self) -> dict[str, Any]:
        """What export.choice.open_engine wants to know beside the bundle."""
        return {
            "threads": self.threads,
            "device": self.device,
            "engine": self.engine,
            "cache": self.data / "engines",
        }

    @property
    def media_limits(self) -> dict[str, Any]:
        """The fields of media.limits.MediaLimits."""
        return {
            "max_bytes": self.max_upload_bytes,
            "max_pixels": self.max_pixels,
            "max_frames": self.max_frames,
            "max_duration_seconds": self.max_duration_seconds,
        }

    @property
    def frame_store_options(self) -> dict[str, Any]:
        """What index.ingest.IngestOptions wants to know of the frame store."""
        return {"frame_store": self.frame_store, "frame_store_max_bytes": self.frame_store_max_bytes}

    @property
    def sandbox_options(self) -> dict[str, Any]:
        """What media.sandbox.Sandbox is made of."""
        return {
            "workers": self.decode_workers,
            "memory_bytes": self.decode_memory_bytes,
            "timeout_seconds": self.decode_timeout_seconds,
            "hardware": self.hardware_decoding == "auto",
        }

    @property
    def index_options(self) -> dict[str, Any]:
        """What index.plan.IndexOptions wants to know beside who it is for."""
        return {"kind": self.index_kind, "min_recall": self.min_recall}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load_settings(**flags: Any) -> Settings:
    """Settings with the given flags on top; a flag that is None was not given."""
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']} (got {e['input']!r})" for e in error.errors())
        raise InvalidRequest(f"A setting is wrong: {told}. Check the flags, VICMAE_* and vicmae.toml.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"vicmae.toml is not TOML: {error}.") from error
