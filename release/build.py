"""Builds what is published: `python release/build.py [FOLDER]` writes a source distribution and wheels.

- `isthmus-VERSION.tar.gz`, from which all the rest is built, so that it is known to be complete;
- a wheel for each Python that isthmus supports and that is found here, compiled;
- a wheel for any machine, not compiled, which pip takes where none of the others fits.

Which Pythons there are not is said on standard error; they are no mistake. FOLDER is `dist` unless named.
What an earlier run left there goes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
SUPPORTED = ("3.11", "3.12", "3.13")
MADE_HERE = shutil.ignore_patterns(
    ".git", ".venv", "build", "dist", "*.egg-info", "*.so", "__pycache__", ".*_cache", ".hypothesis"
)


def pythons() -> dict[str, Path]:
    """Return an interpreter for each supported version that is installed: in the PATH, or by pyenv."""
    found = {version: path for version in SUPPORTED for path in _candidates(version) if _is(version, path)}
    return {version: found[version] for version in SUPPORTED if version in found}


def _candidates(version: str) -> Iterator[Path]:
    """Yield where a Python may be, the best one last."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted((root / "versions").glob(f"{version}.*/bin/python{version}"))
    in_path = shutil.which(f"python{version}")
    if in_path is not None:
        yield Path(in_path)
    yield Path(sys.executable)


def _is(version: str, path: Path) -> bool:
    """Tell whether `path` is a Python of that version that can make environments."""
    script = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
    try:
        outcome = subprocess.run([path, "-c", script], capture_output=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return False
    return outcome.stdout.strip() == version.encode()


def build_source(folder: Path) -> Path:
    """Write the source distribution into `folder`, which has none yet, and return its path.

    It is made of a copy: a build writes beside the files it reads, and two at a time would take each other's.
    """
    with tempfile.TemporaryDirectory() as scratch:
        copy = shutil.copytree(PROJECT, Path(scratch) / "isthmus", ignore=MADE_HERE)
        _run(sys.executable, "-m", "build", "--sdist", "--outdir", folder, copy, ISTHMUS_PURE="0")
    (source,) = folder.glob("*.tar.gz")
    return source


def build_wheel(source: Path, folder: Path, python: Path, *, pure: bool = False) -> Path:
    """Build a wheel of a source distribution with `python`, into `folder`, and return its path.

    Where it cannot be compiled it is one for any machine, as with `pure`.
    """
    before = set(folder.glob("*.whl"))
    with tempfile.TemporaryDirectory() as scratch:
        _run(python, "-m", "venv", scratch)
        own = Path(scratch) / ("Scripts" if os.name == "nt" else "bin") / "python"
        wheel = (own, "-m", "pip", "wheel", "--no-deps", "--no-cache-dir", "-w", folder, source)
        _run(*wheel, ISTHMUS_PURE="1" if pure else "0")
    (built,) = set(folder.glob("*.whl")) - before
    return built


def _run(*command: str | Path, **environment: str) -> None:
    words = [str(word) for word in command]
    settings = {**os.environ, **environment}
    try:
        subprocess.run(
            words, env=settings, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"{error.stdout}\nfailed: {' '.join(words)}") from error


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else PROJECT / "dist")
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("isthmus-*.tar.gz"), *folder.glob("isthmus-*.whl")]:
        old.unlink()
    found = pythons()
    for version in SUPPORTED:
        if version not in found:
            print(f"no wheel for Python {version}: it is not installed here", file=sys.stderr)
    source = build_source(folder)
    built = [source, *(build_wheel(source, folder, python) for python in found.values())]
    built.append(build_wheel(source, folder, Path(sys.executable), pure=True))
    for path in built:
        print(path)


if __name__ == "__main__":
    main()
