"""Generators of kernels, one file a kind of operation, over the vector widths of the target."""
