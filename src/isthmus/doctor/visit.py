"""One visit to the doctor: from a line to the text that is shown and the exit code."""

from __future__ import annotations

import asyncio
import time

from isthmus.doctor import recommendation, report
from isthmus.doctor.examination import Examination
from isthmus.doctor.line import Line
from isthmus.uri import Address


def visit(
    line: Line, accept: Address, *, seconds: float, idle: float = 0.0, pin: str = "", machine: bool = False
) -> tuple[str, int]:
    """Examine `line` and return the report, for people or for a `machine`, and the exit code.

    `accept` is where applications are to connect to in what is recommended; for the rest see `Examination`.
    """
    began = time.monotonic()
    examination = Examination(line, seconds, idle, pin)
    # As for a gateway: what watches sockets needs a loop with a selector.
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(examination.run())
    took = time.monotonic() - began
    advice = recommendation.recommend(line, accept, examination.findings, examination.needs)
    show = report.machine if machine else report.screen
    return show(line.address, examination.findings, advice, took), advice.code
