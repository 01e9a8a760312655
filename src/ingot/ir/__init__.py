"""Kernel IR: the language everything right of `lower` is written in."""
