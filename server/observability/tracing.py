"""W3C trace context: the trace a request belongs to is taken over from its `traceparent`, and given on in the answer.

With the extra `otel` FastAPI itself makes spans and sends them; then its ids are the ones used here.
"""

import re
import secrets
from dataclasses import dataclass
from typing import Any

from opentelemetry import trace

_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


@dataclass(frozen=True)
class Span:
    """This server's part of a trace."""

    trace_id: str  # 32 hex digits
    span_id: str  # 16
    flags: str = "00"

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def span_of(traceparent: str | None) -> Span:
    """OpenTelemetry's running span, else one of the trace that `traceparent` names, else one of a new trace."""
    running: Any = trace.get_current_span().get_span_context()
    if running.is_valid and running.span_id:
        flags = f"{int(running.trace_flags):02x}"
        span_id = f"{running.span_id:016x}" if not running.is_remote else secrets.token_hex(8)
        return Span(f"{running.trace_id:032x}", span_id, flags)
    told = _PARENT.fullmatch((traceparent or "").strip())
    if told and told[1].strip("0") and told[2].strip("0"):
        return Span(told[1], secrets.token_hex(8), told[3])
    return Span(secrets.token_hex(16), secrets.token_hex(8))
