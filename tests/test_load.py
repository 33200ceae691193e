"""What benchmarks/load.py calls wrong."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.load import faults


def report(**changes: Any) -> dict[str, Any]:
    rows = [{"rss_mb": mb, "temporary_mb": 1.0} for mb in (800, 1000, 1040, 1080)]
    found: dict[str, Any] = {
        "load": {"broken": 0, "silent": 0},
        "fairness": {"grid": 200, "refused": [], "interleaved": True},
        "server": rows,
    }
    for path, value in changes.items():
        *into, last = path.split("__")
        place: Any = found
        for key in into:
            place = place[int(key) if isinstance(place, list) else key]
        place[last] = value
    return found


def test_nothing_is_wrong_where_all_is_well():
    assert faults(report()) == []
    assert faults(report(server=[])) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"load__broken": 2}, "2 requests were accepted and came to no end"),
        ({"load__silent": 1}, "1 requests were refused without a word"),
        ({"fairness__refused": ["200 cells: too many"]}, "the grid was refused, 200 cells: too many"),
        ({"fairness__interleaved": False}, "the single picture waited for the whole grid"),
        ({"server__3__rss_mb": 1200}, "memory grew from 1000 to 1200 MB after the first minute"),
        ({"server__3__temporary_mb": 9.0}, "temporary files grew from 1.0 to 9.0 MB after the first minute"),
    ],
)
def test_what_is_wrong_is_said(changes, said):
    assert faults(report(**changes)) == [said]
