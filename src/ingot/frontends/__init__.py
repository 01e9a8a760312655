"""Any model -> ONNX."""

from ingot.frontends.onnx import load_model

__all__ = ["load_model"]
