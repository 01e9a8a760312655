"""Find a C compiler and run it: C text in, objects, archives and shared libraries out, through a build cache."""

from ingot.toolchain.build import archive, compile_objects, link_shared, load_source
from ingot.toolchain.cache import Usage, cache_usage
from ingot.toolchain.compilers import Compiler, find_compiler

__all__ = [
    "Compiler",
    "Usage",
    "archive",
    "cache_usage",
    "compile_objects",
    "find_compiler",
    "link_shared",
    "load_source",
]
