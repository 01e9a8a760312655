"""MindIR models -> ONNX: what `mindspore.export(..., file_format="MINDIR")` writes.

The meaning of the primitives is that of MindSpore's operators on a CPU. Functions are inlined; branches become If, and
functions that end in a call of themselves Loop.
"""

from ingot.frontends.mindir import arrays, layers
from ingot.frontends.mindir.net import read

__all__ = ["arrays", "layers", "read"]
