"""The version of ingot, also written into every package."""

__version__ = "0.1.0"
