"""Caffe networks -> ONNX: a prototxt and the caffemodel with its weights, of the V1 and the new form of layers.

The meaning of the layers is that of BVLC Caffe, and of its forks for SSD (Liu et al., 2016), MTCNN, ShuffleNet and
PSPNet where they add some.
"""

from ingot.frontends.caffe import arrays, detection, layers
from ingot.frontends.caffe.net import read

__all__ = ["arrays", "detection", "layers", "read"]
