"""Metrics for Prometheus: requests and their stages, batches, the queue, the engine, collections and jobs.

Each server has a registry of its own. Knows no routes and no engines; what it cannot count it asks for when scraped.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
PICTURES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class LibraryCounts:
    """What the library holds at the moment of a scrape: numbers by name for each collection, and jobs by state."""

    collections: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    jobs: Mapping[str, int] = field(default_factory=dict)


class Metrics:
    """The numbers of one server."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.engine_drift = Gauge(
            "vicmae_engine_drift_min_cosine",
            "Least cosine between the running engine's and the trained model's vectors, at the last check",
            registry=registry,
        )
        self._engine = Gauge(
            "vicmae_engine_info",
            "Always 1; the labels say what runs",
            ["model", "runtime", "device", "precision", "fingerprint"],
            registry=registry,
        )
        self._requests = Counter(
            "vicmae_requests", "Requests answered", ["method", "route", "status"], registry=registry
        )
        self._request_seconds = Histogram(
            "vicmae_request_seconds",
            "From the first byte in to the last one out",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self._stages = Histogram(
            "vicmae_stage_seconds",
            "Time of a request in a stage, such as decode or engine",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self._batches = Histogram(
            "vicmae_batch_pictures", "Pictures in a batch", (), buckets=PICTURES, registry=registry
        )
        self._batch_requests = Histogram(
            "vicmae_batch_requests", "Requests that shared a batch", (), buckets=PICTURES, registry=registry
        )
        self._engine_seconds = Histogram(
            "vicmae_engine_seconds", "A batch in the engine", (), buckets=SECONDS, registry=registry
        )

    def record_engine(self, model: str, runtime: str, device: str, precision: str, fingerprint: str) -> None:
        self._engine.labels(model, runtime, device, precision, fingerprint).set(1)

    def record_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """One answered request. `route` is a pattern, never a path: there are few of them."""
        self._requests.labels(method, route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def record_stages(self, timing: Mapping[str, float]) -> None:
        """Milliseconds in each stage of a request; stages that it did not need are left out."""
        for stage, milliseconds in timing.items():
            if milliseconds:
                self._stages.labels(stage.removesuffix("_ms")).observe(milliseconds / 1000)

    def record_batch(self, pictures: int, callers: int, seconds: float) -> None:
        self._batches.observe(pictures)
        self._batch_requests.observe(callers)
        self._engine_seconds.observe(seconds)

    def watch(self, name: str, help: str, value: Callable[[], float]) -> None:
        """A gauge that is asked when scraped."""
        Gauge(name, help, registry=self._registry).set_function(value)

    def watch_library(self, counts: Callable[[], LibraryCounts]) -> None:
        self._registry.register(_LibraryCollector(counts))

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)


class _LibraryCollector(Collector):
    def __init__(self, counts: Callable[[], LibraryCounts]) -> None:
        self.counts = counts

    def describe(self) -> Iterable[Metric]:
        return ()  # registering must not count

    def collect(self) -> Iterable[Metric]:
        counts = self.counts()
        names = {name for numbers in counts.collections.values() for name in numbers}
        for name in sorted(names):
            family = GaugeMetricFamily(f"vicmae_collection_{name}", f"{name} of a collection", labels=["collection"])
            for collection, numbers in counts.collections.items():
                if name in numbers:
                    family.add_metric([collection], numbers[name])
            yield family
        jobs = GaugeMetricFamily("vicmae_jobs", "Jobs of all collections, by state", labels=["state"])
        for state, count in counts.jobs.items():
            jobs.add_metric([state], count)
        yield jobs
