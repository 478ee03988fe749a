"""Freed memory goes back to the system."""

import ctypes
import sys
from pathlib import Path

import pytest

from layerscope import memory


def held():
    """Bytes of the process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library has nothing to trim"
)
def test_what_was_freed_in_pieces_is_given_back():
    pieces = [bytearray(b"x" * 100_000) for _ in range(2000)]
    pieces = pieces[::20]  # between those that stay, the others are free, and still held
    before = held()
    memory.give_back()
    assert before - held() > 100e6
    assert len(pieces) == 100


def test_elsewhere_nothing_happens(monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "win32")
    monkeypatch.setattr(memory.ctypes, "CDLL", None)  # which would fail if it were called
    memory.give_back()
