"""TFLite models -> ONNX, float and quantised.

The meaning of the operators is that of TensorFlow Lite's reference kernels, of their quantisation the TFLite 8-bit
quantisation specification: quantised tensors become QuantizeLinear and DequantizeLinear around float operators.
Four-dimensional tensors are kept channels first from the first convolution on; inputs and outputs are as the model
has them.
"""

from ingot.frontends.tflite import arrays, layers, recurrent
from ingot.frontends.tflite.net import read

__all__ = ["arrays", "layers", "read", "recurrent"]
