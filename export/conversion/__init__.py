"""Checkpoint -> bundle: the ONNX graph, its other precisions, the drift of each file. Needs torch and onnx."""

from .layer_drift import explain_drift, first_bad
from .make_bundle import MADE_UP, export_bundle, made_up_pixels
from .quantize import FILES, check_precisions, gate_of
from .to_onnx import AnyEncoder
from .weights import weights_of
