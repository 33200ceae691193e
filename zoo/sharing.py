"""Who takes part in the next tick, when there are more rows than one pass should hold.

Everybody who works on a device has a share of it, kept in rows. Whoever has had least comes first, so that all advance
alike whatever they ask for, and the cells of one come in turn. How many rows a tick takes depends on the smallest work:
with n at work, a tick may take as long as n of the smallest one's own, so that nobody is slower than with the n-th part
of the device to himself. A pass over b rows is taken to cost b + `OVERHEAD` · most.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

from zoo.cell import Cell
from zoo.driving import Pending

OVERHEAD = 1 / 32
"""What a pass costs beside its rows, as a part of the most rows: measured on a CPU, where a pass over one row takes as
long as three in a pass over 64."""


class Share:
    """What one work has had of a device.

    Attributes:
        pending: what it waits for.
        had: rows, with its part of what their passes cost beside them.
        turns: how often each of its cells took part.
    """

    def __init__(self) -> None:
        self.pending = Pending()
        self.had = 0.0
        self.turns: Counter[Cell] = Counter()


class Shares:
    """The shares of all who work on one device.

    Args:
        rows: of a cell in a pass.
    """

    def __init__(self, rows: Callable[[Cell], int] = lambda cell: cell.rows) -> None:
        self.rows = rows
        self._present: list[Share] = []

    def join(self) -> Share:
        """A share for one more, who is owed nothing for the time before."""
        share = Share()
        share.had = min((other.had for other in self._present), default=0.0)
        self._present.append(share)
        return share

    def leave(self, share: Share) -> None:
        """Whose work has ended."""
        self._present.remove(share)

    def choose(self, most: int) -> list[Cell]:
        """The cells of the next tick, which are charged for it.

        The first is taken whatever its rows, so that a cell of more rows than fit has its tick when it is due. One that
        is timed alone has a tick of its own.

        Args:
            most: rows that a pass holds.
        """
        waiting = {
            share: deque(sorted(share.pending.cells, key=share.turns.__getitem__))
            for share in self._present
            if share.pending.cells
        }
        if not waiting:
            return []
        room = self._room(list(waiting), most)
        chosen: list[tuple[Share, Cell]] = []
        taken: Counter[Share] = Counter()
        due = list(waiting)
        while due:
            share = min(due, key=lambda share: share.had + taken[share])
            cell = waiting[share][0]
            if chosen and (share.pending.alone or taken.total() + self.rows(cell) > room):
                due.remove(share)
                continue
            chosen.append((share, waiting[share].popleft()))
            taken[share] += self.rows(cell)
            share.turns[cell] += 1
            if share.pending.alone:
                break
            if not waiting[share]:
                due.remove(share)
        cost = 1 + OVERHEAD * most / taken.total()
        for share, rows in taken.items():
            share.had += rows * cost
        self._forget_old_debts(most)
        return [cell for _, cell in chosen]

    def _room(self, waiting: list[Share], most: int) -> float:
        """Rows of a tick that takes as long as the smallest work's own, times the number of works."""
        overhead = OVERHEAD * most
        least = min(min(most, sum(map(self.rows, share.pending.cells))) for share in waiting)
        return min(most, len(waiting) * (least + overhead) - overhead)

    def _forget_old_debts(self, most: int) -> None:
        """Who asked for little for long is owed no more than a pass, or than the largest cell that had to go first."""
        largest = max(self.rows(cell) for share in self._present for cell in share.pending.cells)
        floor = max(share.had for share in self._present) - max(most, largest) - OVERHEAD * most
        for share in self._present:
            share.had = max(share.had, floor)
