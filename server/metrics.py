"""What the server tells Prometheus. Each server has a registry of its own; knows no routes and no engines."""

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The gauges of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.engine_drift = Gauge(
            "vicmae_engine_drift_min_cosine",
            "Least cosine between the running engine's and the trained model's vectors, at the last check",
            registry=self._registry,
        )
        self._engine = Gauge(
            "vicmae_engine_info",
            "Always 1; the labels say what runs",
            ["model", "runtime", "device", "precision", "fingerprint"],
            registry=self._registry,
        )

    def tell_engine(self, model: str, runtime: str, device: str, precision: str, fingerprint: str) -> None:
        self._engine.labels(model, runtime, device, precision, fingerprint).set(1)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)
