"""`isthmus check` looks at the files with which connects tell proxies who they are."""

from __future__ import annotations

from pathlib import Path

from isthmus.config import load
from isthmus.credentials import examine


def test_each_file_is_looked_at(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(
        "\n".join(
            f'[[service]]\ntype = "proxy"\naccept = "tcp://127.0.0.1:{port}"\nconnect = "wss://gw/"\n'
            f"[service.connect-options]\n{option}"
            for port, option in (
                (1, ""),
                (2, '"proxy.credentials-file" = "good"'),
                (3, '"proxy.credentials-file" = "open"'),
                (4, '"proxy.credentials-file" = "bad"'),
                (5, '"proxy.credentials-file" = "missing"'),
            )
        )
    )
    for name, text, mode in (("good", "", 0o600), ("open", "", 0o644), ("bad", "x", 0o600)):
        file = tmp_path / name
        file.write_text(f"{text}default login alice password sesame\n")
        file.chmod(mode)
    notes = examine(load(config))
    assert [(note.level, note.problem.line) for note in sorted(notes, key=lambda note: note.level)] == [
        ("ERROR", 24),
        ("ERROR", 30),
        ("WARN", 18),
    ]
    assert "sesame" not in str(notes)
