"""ONNX -> ONNX: an ordered list of named rewrites of an onnx_ir.Model, in place."""
