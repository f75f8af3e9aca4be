"""Compiles the inner loops with Cython. Everything else about the package is in pyproject.toml.

Compiled are, in src/isthmus, each `.py` that has a `.pxd` beside it and each `.pyx`. Without a C compiler, or
with ISTHMUS_PURE=1, the same `.py` files run as they are; a `.pyx` has a plain twin that takes its place.
"""

import os
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from setuptools import Extension, setup

SOURCES = Path("src")


def compiled_sources() -> list[Path]:
    """Return the files to compile."""
    augmented = (path.with_suffix(".py") for path in SOURCES.rglob("*.pxd"))
    return sorted({path for path in augmented if path.exists()} | set(SOURCES.rglob("*.pyx")))


def remove_outdated(sources: list[Path], *, everything: bool) -> None:
    """Remove extension modules that an editable install left beside sources which have changed since.

    An import prefers them to the `.py` file, and a build that fails would leave them there.
    """
    declared = max((path.stat().st_mtime for path in SOURCES.rglob("*.pxd")), default=0.0)
    for source in sources:
        newest = max(source.stat().st_mtime, declared)
        for suffix in EXTENSION_SUFFIXES:
            built = source.with_suffix(suffix)
            if built.exists() and (everything or built.stat().st_mtime < newest):
                built.unlink()


def extensions() -> list[Extension]:
    """Return what is to be compiled, each as optional: where it cannot be, the package works without."""
    sources = compiled_sources()
    pure = os.environ.get("ISTHMUS_PURE", "") not in ("", "0")
    remove_outdated(sources, everything=pure)
    if pure:
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:  # only where build isolation is off
        return []
    # Who sets CFLAGS knows what they want: ours come behind them and would win.
    optimization = [] if os.name == "nt" or os.environ.get("CFLAGS") else ["-O3", "-g0"]
    modules: list[Extension] = cythonize(
        [
            Extension(
                ".".join(path.relative_to(SOURCES).with_suffix("").parts),
                [path.as_posix()],
                extra_compile_args=optimization,
            )
            for path in sources
        ],
        build_dir="build/cython",
        compiler_directives={"language_level": 3, "annotation_typing": False},
    )
    for module in modules:
        # Only now: cythonize does not carry the mark of a module over.
        module.optional = True
    return modules


setup(ext_modules=extensions(), options={"build_ext": {"parallel": os.cpu_count() or 1}})
