"""Fixtures of the doctor's tests."""

from __future__ import annotations

from tests.doctor.scene import serving

__all__ = ["serving"]
