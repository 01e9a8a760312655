"""Load compiled packages and run them. Needs NumPy and the standard library alone."""

from ingot.runtime.bindings import Binding
from ingot.runtime.ports import DTYPES, DType, Port
from ingot.runtime.session import Session, load

__all__ = ["DTYPES", "Binding", "DType", "Port", "Session", "load"]
