"""Runs every fuzz target at once: `python fuzz/run.py SECONDS FOLDER`.

Each begins with its own seeds, and keeps in FOLDER what it learns and what breaks it. The exit status is 0 if
nothing did. The Python files must be what is imported: the fuzzer does not see into compiled modules.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import span_session  # noqa: E402
import websocket_frames  # noqa: E402

TARGETS: dict[str, Callable[[], list[bytes]]] = {
    "span_session": span_session.seeds,
    "websocket_frames": websocket_frames.seeds,
}

STARTING = 300
"""Seconds that a target may take beyond its time: what it runs is instrumented first."""


def start(name: str, seconds: int, folder: Path) -> subprocess.Popen[str]:
    """Start one target, for so long."""
    corpus, broken = folder / name / "corpus", folder / name / "broken"
    corpus.mkdir(parents=True, exist_ok=True)
    broken.mkdir(exist_ok=True)
    for number, seed in enumerate(TARGETS[name]()):
        (corpus / f"seed-{number}").write_bytes(seed)
    return subprocess.Popen(
        [
            sys.executable,
            HERE / f"{name}.py",
            corpus,
            f"-max_total_time={seconds}",
            f"-artifact_prefix={broken}/",
            "-timeout=20",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def main() -> int:
    """Run them all and say of each what it did, and of one that failed how to see it again."""
    seconds, folder = int(sys.argv[1]), Path(sys.argv[2])
    if importlib.util.find_spec("atheris") is None:
        print(
            "atheris, the fuzzer, is not installed: it is there for Python 3.11 and 3.12 on Linux",
            file=sys.stderr,
        )
        return 2
    running = {name: start(name, seconds, folder) for name in TARGETS}
    failed = False
    for name, process in running.items():
        try:
            said, _ = process.communicate(timeout=seconds + STARTING)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
        lines = said.strip().splitlines() or ["it said nothing"]
        if process.returncode == 0:
            print(f"{name}: {lines[-1]}")
            continue
        failed = True
        print("\n".join(lines[-60:]))
        print(f"{name}: failed; run python fuzz/{name}.py with the file named above to see it again")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
