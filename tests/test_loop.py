"""The loop: who shares a device changes nobody's pictures, comes and goes at any tick, and harms nobody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
import torch

import zoo
from tests.helpers import CPU, PixelModel, make_cell, random_network, rowwise, sample
from zoo.cell import Cell
from zoo.driving import turns
from zoo.loop import Loop, Member
from zoo.prepared import prepare
from zoo.registry import default_registry
from zoo.sampler import Query, Sampler
from zoo.watchdog import Stuck, Watch

SECONDS = 120
"""How long a test waits for what takes milliseconds."""


class Gate:
    """A network that waits at each pass until it may: `open` lets all through, `one` lets one."""

    def __init__(self, function: Callable[..., torch.Tensor] = rowwise) -> None:
        self.function = function
        self.passes = threading.Semaphore(0)

    def __call__(self, *given: object) -> torch.Tensor:
        assert self.passes.acquire(timeout=SECONDS)
        return self.function(*given)

    def one(self) -> None:
        self.passes.release()

    def open(self) -> None:
        self.passes.release(1_000_000)


@pytest.fixture
def loop() -> Loop:
    return Loop(CPU)


@pytest.fixture
def gate() -> Gate:
    return Gate()


def join(loop: Loop, *cells: Cell, **options: object) -> Member:
    return loop.join(turns(cells, **options))


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_pictures_are_the_same_as_alone_whoever_comes_and_goes(loop, gate):
    network = random_network()
    gate.function = network
    model = PixelModel(gate)
    asked = [
        ("ddim steps=9 | cfg scale=2", (0, 1)),
        ("ddpm steps=6", (2,)),
        ("heun steps=4", (0, 5, 7)),
        ("dpmpp_2m steps=7", (3,)),
        ("ddim steps=3 eta=1", (0,)),
    ]
    cells = [make_cell(model, line, seeds, "word") for line, seeds in asked]
    members = []
    for cell in cells:  # each finds the others at another step
        members.append(join(loop, cell))
        while not cell.running:  # those who came before may have a pass of their own first
            gate.one()
            waited = time.monotonic() + 1
            wait_until(lambda cell=cell, waited=waited: cell.running or time.monotonic() > waited)
    gate.open()
    for member in members:
        member.result()
    assert max(len(x) for x, _, _ in model.calls) == 10, "all were answered in one pass"
    for cell, (line, seeds) in zip(cells, asked, strict=True):
        alone = sample(PixelModel(network), line, seeds, prompt="word")
        torch.testing.assert_close(cell.samples, alone, rtol=0, atol=1e-10)


def test_a_picture_beside_a_grid_of_200_takes_its_own_steps_only(loop, gate):
    model = PixelModel(gate)
    grid = [make_cell(model, "ddim steps=50", (i,)) for i in range(200)]
    big = join(loop, *grid)
    for _ in range(12):
        gate.one()
    wait_until(lambda: len(model.calls) == 13)
    single = make_cell(model, "ddim steps=10", (7,))
    small = join(loop, single)
    for _ in range(11):  # the pass that had begun, and its own ten
        gate.one()
    small.result()
    assert single.status == "done"
    rows = [len(x) for x, _, _ in model.calls]
    assert rows[:13] == [64] * 13
    assert max(rows[13:23]) <= 4, "no pass makes it wait for a whole grid"
    assert sum(rows[13:23]) > 20, "the grid goes on meanwhile"
    gate.open()
    big.result()
    assert all(cell.status == "done" for cell in grid)
    assert torch.equal(grid[0].samples, sample(PixelModel(rowwise), "ddim steps=50", (0,)))
    assert torch.equal(single.samples, sample(PixelModel(rowwise), "ddim steps=10", (7,)))


def test_everybody_sees_previews_of_his_own_cells_only(loop, gate):
    model = PixelModel(gate)
    cells = [make_cell(model, "ddim steps=5", (i,)) for i in range(3)]
    members = [join(loop, *cells[:2]), join(loop, cells[2])]
    gate.open()
    for member, own in zip(members, (cells[:2], cells[2:]), strict=True):
        seen = [item for look in member.looks() for item in look]
        assert all(own[index] is cell for index, cell in seen)
        assert len(seen) > len(own), "previews came before the ends"


def test_cancelling_ends_ones_own_cells_within_one_tick(loop, gate):
    model = PixelModel(gate)
    stop = threading.Event()
    mine, other = make_cell(model, "ddim steps=50"), make_cell(model, "ddim steps=5")
    first, second = join(loop, mine, cancelled=stop.is_set), join(loop, other)
    gate.one()
    gate.one()
    wait_until(lambda: len(model.calls) == 3)
    stop.set()
    gate.one()
    first.result()
    assert mine.status == "cancelled"
    assert mine.nfe["denoiser"] <= 3
    gate.open()
    second.result()
    assert torch.equal(other.samples, sample(PixelModel(rowwise), "ddim steps=5"))


class Breaks(Sampler):
    def sample(self, x, levels, noise):
        yield Query(x, levels[0])
        raise RuntimeError("lost my way")


def test_what_fails_fails_alone(loop):
    def squeamish(x, t, texts):
        if "poison" in texts:
            raise ValueError("cannot draw poison")
        return rowwise(x, t, texts)

    model = PixelModel(squeamish)
    good = [make_cell(model, "ddim steps=20", prompt="word"), make_cell(model, "ddpm steps=20", (1,), "word")]
    bad = [make_cell(model, Breaks()), make_cell(model, "ddim steps=3", prompt="poison")]
    for member in [join(loop, *pair) for pair in zip(good, bad, strict=True)]:
        member.result()
    assert [cell.status for cell in bad] == ["failed", "failed"]
    assert ["lost my way" in bad[0].error, "cannot draw poison" in bad[1].error] == [True, True]
    for cell, line in zip(good, ["ddim steps=20", "ddpm steps=20"], strict=True):
        assert torch.equal(cell.samples, sample(PixelModel(rowwise), line, cell.seeds, prompt="word"))


class Interrupts(Sampler):
    def sample(self, x, levels, noise):
        yield Query(x, levels[0])
        raise KeyboardInterrupt


def test_a_plugin_that_raises_what_ends_programs_ends_its_own_cell_only(loop):
    model = PixelModel(rowwise)
    cells = [
        make_cell(model, Interrupts()),
        make_cell(model, "ddim steps=9"),
        make_cell(model, "ddpm steps=9"),
    ]
    for member in [join(loop, cell) for cell in cells]:
        member.result()
    assert [cell.status for cell in cells] == ["failed", "done", "done"]
    assert torch.equal(cells[1].samples, sample(PixelModel(rowwise), "ddim steps=9"))


def test_a_work_that_raises_harms_no_other_and_its_error_comes_after_what_it_yielded(loop):
    def work() -> Iterator[object]:
        yield "one"
        yield "two"
        raise LookupError("broken")

    cell = make_cell(PixelModel(rowwise), "ddim steps=30")
    good, bad = join(loop, cell), loop.join(work())
    seen: list[object] = []

    def look() -> None:
        for look in bad.looks():
            seen.extend(look)

    with pytest.raises(LookupError, match="broken"):
        look()
    assert seen == ["one", "two"]
    good.result()
    assert cell.status == "done"


def test_everything_arrives_in_order_with_the_result(loop):
    def work():
        yield from range(100)
        return "end"

    def look():
        result = yield from loop.join(work()).looks(pause=0.01)
        assert result == "end"

    assert [item for items in look() for item in items] == list(range(100))


class Spins(Sampler):
    """Computes until it is released."""

    def __init__(self, released: threading.Event) -> None:
        super().__init__()
        self.released = released

    def sample(self, x, levels, noise):
        prediction = yield Query(x, levels[0])
        self.released.wait(SECONDS)
        return prediction.x0


@pytest.fixture
def released() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_the_others_go_on_without_a_method_that_never_comes_back(released):
    loop = Loop(CPU, Watch(patience=0.05), give_up=0.1)
    model = PixelModel(rowwise)
    stuck = make_cell(model, Spins(released))
    beside, other = make_cell(model, "ddim steps=40", (1,)), make_cell(model, "ddpm steps=40", (2,))
    mine, others = join(loop, stuck, beside), join(loop, other)
    others.result()
    mine.result()
    assert stuck.status == "failed"
    assert "without asking a network" in stuck.error
    assert (mine.trouble, others.trouble) == (stuck.error.removeprefix("Stuck: "), "")
    assert torch.equal(beside.samples, sample(PixelModel(rowwise), "ddim steps=40", (1,)))
    assert torch.equal(other.samples, sample(PixelModel(rowwise), "ddpm steps=40", (2,)))
    assert (beside.nfe["denoiser"], other.nfe["denoiser"]) == (40, 40)
    (left,) = [thread for thread in threading.enumerate() if thread.name == "left"]
    released.set()
    left.join(SECONDS)
    assert not left.is_alive(), "its thread ends when it comes back after all"
    assert (stuck.status, stuck.samples) == ("failed", None)
    late = make_cell(model, "ddim steps=2")
    join(loop, late).result()
    assert late.status == "done"


def test_a_work_whose_own_code_never_comes_back_ends_and_the_others_go_on(released):
    loop = Loop(CPU, Watch(patience=0.05), give_up=0.1)

    def work() -> Iterator[object]:
        with loop.watch.during("the metric slow"):
            released.wait(SECONDS)
        yield "too late"

    cell = make_cell(PixelModel(rowwise), "ddim steps=5")
    bad, good = loop.join(work()), join(loop, cell)
    with pytest.raises(Stuck, match="the metric slow has been computing"):
        bad.result()
    good.result()
    assert cell.status == "done"


def test_what_is_timed_alone_shares_no_pass(loop, gate):
    model = PixelModel(gate)
    timed, other = make_cell(model, "ddim steps=5", (0, 1)), make_cell(model, "ddim steps=8", (2,))
    members = [join(loop, timed, alone=True), join(loop, other)]
    gate.open()
    for member in members:
        member.result()
    assert sorted({len(x) for x, _, _ in model.calls}) == [1, 2]
    assert [timed.status, other.status] == ["done", "done"]


def test_comparisons_of_two_people_are_what_they_are_alone(loop):
    asked = [
        zoo.Comparison(
            model="gaussian", prompt="dawn", seeds="0..1", cells=["ddim steps=9", "ddpm steps=12"]
        ),
        zoo.Comparison(
            model="gaussian",
            prompt="dusk",
            seeds="3,5",
            cells=["heun steps=5", "ddim steps=7 | cfg scale=2"],
            metrics=["solution_error"],
        ),
    ]
    members = [loop.join(prepare(comparison).run(loop.engine)) for comparison in asked]
    for comparison, member in zip(asked, members, strict=True):
        shared, alone = member.result(), zoo.compare(comparison, device="cpu")
        assert shared.comparison == alone.comparison
        for one, other in zip(shared.cells, alone.cells, strict=True):
            assert (one.status, one.nfe, one.noise) == ("done", other.nfe, other.noise)
            torch.testing.assert_close(one.samples, other.samples, rtol=0, atol=1e-9)
            assert list(one.metrics) == list(other.metrics)
            for name, score in one.metrics.items():
                assert score.value == pytest.approx(other.metrics[name].value, abs=1e-9)


def test_a_fine_solution_for_a_metric_is_solved_beside_the_others(loop, gate):
    model = PixelModel(gate)
    from zoo.method import Part
    from zoo.metrics.solution import SolutionError
    from zoo.scoring import score_cells

    cell, other = make_cell(PixelModel(rowwise), "ddim steps=2"), make_cell(model, "ddim steps=50", (1,))
    loop.run(turns([cell]))
    cell.model = model
    work = score_cells({Part("solution_error"): SolutionError()}, {0: (cell, cell.samples)}, loop.engine)
    members = [loop.join(work), join(loop, other)]
    gate.open()
    for member in members:
        member.result()
    assert sum(len(x) == 2 for x, _, _ in model.calls) >= 40


def test_pictures_between_noises_are_the_same_on_a_loop(loop):
    options = {"frames": 3, "model": "gaussian", "method": "ddim steps=4", "registry": default_registry()}
    shared = zoo.interpolate([1, 2], on=loop, **options)
    torch.testing.assert_close(shared.samples, zoo.interpolate([1, 2], device="cpu", **options).samples)
