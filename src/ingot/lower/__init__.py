"""ONNX nodes -> kernel IR, one file an operator family, and the registry."""
