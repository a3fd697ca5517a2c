"""Builds a segment in a process of its own, so that searches neither wait for it nor keep the memory it took.

The child is told a job on its standard input and answers with a line on its standard output. It ends with its parent,
whose end closes that input. What a killed child leaves is a folder that does not count; the next sealing removes it.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...errors import StorageError
from ..catalog import Catalog
from .build import make_segment
from .plan import IndexOptions

NICENESS = 5  # below who answers requests; a share is left to it also when they are busy all the time
CHECK_SECONDS = 0.1  # between two looks at whether to stop


def make_apart(
    catalog: Path, folder: Path, span: tuple[int, int], dim: int, options: IndexOptions, stop: Callable[[], None]
) -> Path:
    """As build.make_segment, in a child. catalog: its path. stop raises to end it: the child is then killed.

    Raises StorageError also when the child dies.
    """
    job = {"catalog": str(catalog), "folder": str(folder), "span": span, "dim": dim, "options": asdict(options)}
    path = os.pathsep.join(place for place in sys.path if place)
    with subprocess.Popen(
        # -P and the path: the same modules as here, and none from the folder that we happen to be in.
        [sys.executable, "-P", "-c", f"from {__name__} import main; main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
        process_group=0,  # Ctrl-C is for us: we end our children ourselves
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        try:
            child.stdin.write(json.dumps(job) + "\n")
            child.stdin.flush()
            while True:
                stop()
                try:
                    child.wait(CHECK_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    continue
            answer = child.stdout.read()
        except BrokenPipeError:  # it died at once; its exit code says how
            answer = ""
        finally:
            child.kill()
    if not answer:
        code = child.returncode
        ending = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise StorageError(f"the process that builds the segment ended early ({ending})")
    told: dict[str, str] = json.loads(answer)
    if "error" in told:
        raise StorageError(told["error"])
    return Path(told["made"])


def main() -> None:
    """One job from standard input, its outcome to standard output."""
    job: dict[str, Any] = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(NICENESS)
    try:
        catalog, options = Catalog(Path(job["catalog"])), IndexOptions(**job["options"])
        made = make_segment(catalog, Path(job["folder"]), tuple(job["span"]), job["dim"], options, lambda: None)
        told = {"made": str(made)}
    except Exception as error:  # whatever it is, the parent logs it and goes on; nobody sees a traceback of ours
        is_known = isinstance(error, (OSError, StorageError))
        told = {"error": str(error) if is_known else f"{type(error).__name__}: {error}"}
    print(json.dumps(told), flush=True)


def _end_with_parent() -> None:
    """Waits for the other end of standard input to close."""
    os.read(0, 1)
    os._exit(0)
