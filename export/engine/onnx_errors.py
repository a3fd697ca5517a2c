"""Why an ONNX file does not start, as a sentence for a person. Reads what ONNX Runtime and onnx say; opens nothing."""

import re
from pathlib import Path

NOT_ONNX = re.compile(r"INVALID_PROTOBUF|Protobuf parsing failed|No graph was found|Error parsing message|DecodeError")
NEWER = re.compile(r"[Oo]pset (\d+) is under development.*till opset (\d+)", re.DOTALL)
NEWER_FORMAT = re.compile(r"IR version: (\d+).*IR version: (\d+)", re.DOTALL)
WEIGHTS_GONE = re.compile(r"External data path does not exist: \"?([^\"\n]+)|should be stored in (\S+), but")
WEIGHTS_SHORT = re.compile(r"out of bounds or can not be read|exceeds available data|External data length")


def why_it_does_not_start(path: Path, error: Exception) -> str:
    """The sentence for `error`, raised where the ONNX file `path` was opened: what is wrong and what to do."""
    said = f"{type(error).__name__}: {error}"
    again = "Copy the whole bundle again, or export it again."
    if NOT_ONNX.search(said):
        return f"{path} is not an ONNX file, or only the beginning of one. {again}"
    if found := WEIGHTS_GONE.search(said):
        lost = Path(next(group for group in found.groups() if group)).name
        return f"{path} keeps its weights in {lost}, which is not beside it. {again}"
    if WEIGHTS_SHORT.search(said):
        return f"{path} keeps its weights in another file, which is too short. {again}"
    if found := NEWER.search(said):
        return (
            f"{path} wants opset {found[1]}, and this ONNX Runtime reads up to {found[2]}. Upgrade onnxruntime, or "
            f"export the bundle again."
        )
    if found := NEWER_FORMAT.search(said):
        return (
            f"{path} is ONNX of format {found[1]}, and this ONNX Runtime reads up to {found[2]}. Upgrade onnxruntime, "
            f"or export the bundle again."
        )
    return f"{path} does not start: {error}"
