"""Kernel IR -> kernel IR: fusion, layout, tiling, memory."""
