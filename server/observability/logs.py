"""Log lines for people, or one JSON object a line for machines; both know which request they belong to.

Knows no HTTP: middleware/request_lifecycle.py says which request runs.
"""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

LogFormat = Literal["text", "json"]

# What every line of the running request carries: request_id, trace_id. Worker threads inherit it.
REQUEST: ContextVar[dict[str, str] | None] = ContextVar("vicmae_request", default=None)
ACCESS = "vicmae.access"
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """A record as one line of JSON: time, level, logger, message, the request's ids, what `extra` gave, the trace."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **(REQUEST.get() or {}),
            **{name: value for name, value in vars(record).items() if name not in _OWN},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def set_up(log_format: LogFormat) -> None:
    """Sends every line to stderr in this format. Only machines are told of each request."""
    handler = logging.StreamHandler(sys.stderr)
    plain = logging.Formatter("%(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if log_format == "json" else plain)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger(ACCESS).setLevel(logging.INFO if log_format == "json" else logging.WARNING)
