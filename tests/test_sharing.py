"""Who takes part in a tick: everybody's share is alike, whatever they ask for. Counted in rows, without any clock."""

from __future__ import annotations

import pytest

from zoo.driving import Pending
from zoo.sharing import OVERHEAD, Shares

MOST = 64


class Waiting:
    """A cell as far as sharing looks at it."""

    def __init__(self, rows: int) -> None:
        self.rows = rows


def cells(count: int, rows: int = 1) -> list[Waiting]:
    return [Waiting(rows) for _ in range(count)]


def cost(chosen: list[Waiting]) -> float:
    """What a pass over these is taken to cost."""
    return sum(cell.rows for cell in chosen) + OVERHEAD * MOST


def join(shares: Shares, waiting: list[Waiting], alone: bool = False):
    share = shares.join()
    share.pending = Pending(waiting, alone)
    return share


def test_who_is_alone_fills_whole_passes_and_its_cells_take_turns():
    shares, grid = Shares(), cells(200)
    join(shares, grid)
    ticks = [shares.choose(MOST) for _ in range(200)]
    assert {len(chosen) for chosen in ticks} == {MOST}
    counts = [sum(cell in chosen for chosen in ticks) for cell in grid]
    assert max(counts) - min(counts) <= 1


def test_a_picture_beside_a_grid_of_200_is_in_every_tick_and_at_most_twice_as_slow():
    shares, grid, (picture,) = Shares(), cells(200), cells(1)
    join(shares, grid)
    for _ in range(10):
        shares.choose(MOST)
    join(shares, [picture])
    for _ in range(100):
        chosen = shares.choose(MOST)
        assert picture in chosen
        assert cost(chosen) <= 2 * cost([picture])
        assert len(chosen) > 1, "the grid goes on too"


@pytest.mark.parametrize(
    "demands", [(1, 200), (1, 1, 200), (2, 3, 40, 200), (64, 64), (1,) * 8, (8, 16, 24, 32, 40, 48, 56, 64)]
)
def test_nobody_is_slower_than_with_the_nth_part_of_the_device(demands):
    shares = Shares()
    works = [cells(n) for n in demands]
    for work in works:
        join(shares, work)
    spent, answered = 0.0, [0] * len(works)
    for _ in range(600):
        chosen = shares.choose(MOST)
        spent += cost(chosen)
        for i, work in enumerate(works):
            answered[i] += sum(cell in chosen for cell in work)
    for work, rows in zip(works, answered, strict=True):
        in_a_pass = min(MOST, len(work))
        by_itself = spent / len(works) * in_a_pass / (in_a_pass + OVERHEAD * MOST)
        assert rows >= 0.95 * by_itself


def test_eight_small_works_travel_together():
    shares = Shares()
    works = [cells(1 + i % 2) for i in range(8)]
    for work in works:
        join(shares, work)
    assert len(shares.choose(MOST)) == 12


def test_a_cell_of_more_rows_than_a_pass_holds_has_its_tick_when_it_is_due():
    shares, (large,), (picture,) = Shares(), cells(1, rows=512), cells(1)
    join(shares, [large])
    join(shares, [picture])
    spent = {id(large): 0.0, id(picture): 0.0}
    for _ in range(2000):
        chosen = shares.choose(MOST)
        assert len(chosen) == 1, "one is too large to share a tick, and would make the other's too long"
        spent[id(chosen[0])] += cost(chosen)
    assert spent[id(large)] == pytest.approx(spent[id(picture)], abs=cost([large]))


def test_what_is_timed_alone_shares_no_tick():
    shares, timed, others = Shares(), cells(2), cells(3)
    join(shares, timed, alone=True)
    join(shares, others)
    ticks = [shares.choose(MOST) for _ in range(40)]
    own = [chosen for chosen in ticks if any(cell in chosen for cell in timed)]
    assert all(len(chosen) == 1 for chosen in own)
    assert 0 < len(own) < len(ticks)


def test_who_comes_later_is_not_owed_the_time_before_and_who_asked_for_little_no_more_than_a_pass():
    shares, grid, late, third = Shares(), cells(200), cells(200), cells(200)
    join(shares, grid)
    small = join(shares, cells(1))
    for _ in range(500):
        shares.choose(MOST)
    small.pending = Pending(late)

    def rows(works, ticks: int) -> list[int]:
        chosen = [cell for _ in range(ticks) for cell in shares.choose(MOST)]
        return [sum(chosen.count(cell) for cell in work) for work in works]

    first, second = rows([grid, late], 10)
    assert 0 <= second - first <= MOST + 3
    join(shares, third)
    counts = rows([grid, late, third], 30)
    assert max(counts) - min(counts) <= MOST
