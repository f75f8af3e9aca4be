"""What is published is whole: it installs where nothing of the repository is, and works there.

This Python gets a clean environment; in a long run (ISTHMUS_SOAK_SECONDS) so does each supported one that is
installed here, and the others are skipped by name.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from pathlib import Path

import pytest
from release import build
from tests.system.pair import Processes
from tests.system.process import PATIENCE, Finished, free_port, run
from tests.system.requirements import PROJECT
from websockets.sync.client import connect as websockets_connect

PYTHONS = build.pythons()
_LONG = float(os.environ.get("ISTHMUS_SOAK_SECONDS", "0")) > 0
_THIS = f"{sys.version_info[0]}.{sys.version_info[1]}"
MADE_BY_SETUPTOOLS = re.compile(r"PKG-INFO|setup\.cfg|src/isthmus\.egg-info(/.*)?")
NEEDED = (
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "NOTICE",
    "README.md",
    "SECURITY.md",
    ".ci/run",
    "conftest.py",
    "demo/demo.py",
    "docs/flow.md",
    "examples/whitepaper/client.xml",
    "pyproject.toml",
    "setup.py",
    "src/isthmus/home/bin/gateway.start",
    "src/isthmus/websocket/_mask.pyx",
    "src/isthmus/websocket/frames.pxd",
    "tests/system/test_packaging.py",
    "tests/test_cli.py",
)

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution."""
    return build.build_source(tmp_path_factory.mktemp("source"))


def test_this_python_is_supported() -> None:
    assert _THIS in build.SUPPORTED


def test_the_source_distribution_is_the_repository(source: Path) -> None:
    with tarfile.open(source) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    ours = {name for name in names if not MADE_BY_SETUPTOOLS.fullmatch(name)}
    assert set(NEEDED) <= ours
    strange = [name for name in ours if name.endswith((".so", ".pyd", ".pyc", ".log"))]
    strange += [name for name in ours if name.startswith("src/") and name.endswith(".c")]
    assert not strange, "made by a build, not written"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    if listed.returncode == 0:  # else this is no checkout, but perhaps such a distribution itself
        files = {name for name in listed.stdout.splitlines() if (PROJECT / name).exists()}
        assert ours - files == set(), "in the distribution, but not in the repository"
        assert files - ours == set(), "in the repository, but not in the distribution"


@pytest.mark.parametrize("version", build.SUPPORTED if _LONG else [_THIS])
def test_it_installs_and_works(
    version: str, source: Path, processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a compiled wheel with all it depends on; then from source where there is no compiler."""
    if version not in PYTHONS:
        pytest.skip(f"Python {version} is not installed here")
    monkeypatch.setenv("CFLAGS", "-O0 -g0")  # as good to see whether it compiles, and much sooner
    wheel = build.build_wheel(source, tmp_path, PYTHONS[version])
    assert re.search(rf"-cp{version.replace('.', '')}-cp\d+-", wheel.name), "compiled"
    contents_are_ours(wheel)

    environment = tmp_path / "environment"
    made = run([PYTHONS[version], "-m", "venv", environment], timeout=60)
    assert made.code == 0, made.errors
    install(environment, wheel)
    works(environment, processes, tmp_path / "compiled", compiled=True)

    install(environment, source, "--no-deps", "--force-reinstall", "--no-cache-dir", CC="/bin/false")
    works(environment, processes, tmp_path / "plain", compiled=False)


def contents_are_ours(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {"isthmus/py.typed", "isthmus/cli.py", "isthmus/home/web/base/index.html"} <= names
    strange = [name for name in names if not re.match(r"isthmus(-[^/]+\.dist-info)?/", name)]
    strange += [name for name in names if name.endswith((".c", ".pyc", ".log"))]
    assert not strange, "not for an installation"


def outside(*command: str | Path, cwd: Path, timeout: float = PATIENCE, **variables: str) -> Finished:
    """Run a program that must not find the repository."""
    settings = [f"{name}={value}" for name, value in variables.items()]
    return run(["env", "-u", "PYTHONPATH", *settings, *command], cwd=cwd, timeout=timeout)


def install(environment: Path, what: Path, *options: str, **variables: str) -> None:
    python = environment / "bin" / "python"
    pip = ["-m", "pip", "install", "--quiet", *options, str(what)]
    outcome = outside(python, *pip, cwd=environment, timeout=300, **variables)
    assert outcome.code == 0, outcome.errors + os.linesep + outcome.output.decode()


def works(environment: Path, processes: Processes, folder: Path, *, compiled: bool) -> None:
    """Check the installed command: what it is, a fresh home, a gateway from it, its page and its echo."""
    folder.mkdir()
    isthmus = environment / "bin" / "isthmus"
    version = outside(isthmus, "version", cwd=folder)
    assert version.code == 0, version.errors
    loops = re.search(r"inner loops +(.*)", version.output.decode())
    assert loops is not None
    assert (loops[1] == "compiled") is compiled, loops[1]

    made = outside(isthmus, "init", "gateway", cwd=folder)
    assert made.code == 0, made.errors
    config = folder / "gateway" / "conf" / "gateway-config-minimal.xml"
    port = free_port()
    text = re.sub(r"\b8000\b", str(port), config.read_text())
    config.write_text(re.sub(r"\b8001\b", str(free_port()), text))

    gateway = processes.start(
        ["env", "-u", "PYTHONPATH", isthmus, "start", "--config", config],
        cwd=folder,
    )
    gateway.wait_for("Started server successfully")
    with urllib.request.urlopen(f"http://localhost:{port}/", timeout=PATIENCE) as page:
        assert b"isthmus" in page.read()
    with websockets_connect(f"ws://localhost:{port}/echo", proxy=None) as client:
        client.send(b"out and back")
        assert client.recv(timeout=PATIENCE) == b"out and back"
    assert "Traceback" not in gateway.text
    gateway.kill()
