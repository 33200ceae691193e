"""Drives cells: gathers the queries that they wait on, answers them in one batch, hands the replies back.

`tick` is a plain function of the cells it is given: it neither knows nor cares which comparison they belong to.
`turns` says what cells wait for and when there is something to look at; `drive` does that with an engine of its own,
`zoo.loop` with one that many share.
"""

from __future__ import annotations

import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch

from zoo.cell import Cell, Decoding, required_roles, weighted
from zoo.device import resolve_dtype, sent
from zoo.memory import out_of_memory, shelf
from zoo.model import Classifier, ControlNetwork, Decoder, Model, Network
from zoo.prediction import Endpoint, Prediction, to_eps, to_x0
from zoo.rehearsal import rehearsal
from zoo.residuals import ControlAsk, control_residuals
from zoo.sampler import PROMPT, ClassQuery, Query
from zoo.schedule import Level
from zoo.stopwatch import Stopwatch
from zoo.watchdog import Watch

PREVIEW_SHARE = 0.02
"""Share of the time that previews may take, with what the caller does before it asks for more."""

TEXTS = 256
"""Of more texts than this, the encodings of those used longest ago are forgotten."""

LOG_SNR_SLACK = 0.01
"""How far off the level may be that a network is asked about: half a percent of sigma/alpha. A table of ᾱ kept in fp32
is up to 5e-4 off the same one in float64 (the cosine schedule's); beyond a chain's ends one is soon further off."""

Y = TypeVar("Y")
R = TypeVar("R")


@dataclass(frozen=True)
class Pending:
    """What a work yields when it can go no further: its cells wait for an engine.

    Whoever drives the work has some of them answered, all if nobody else is there, and goes on with it.

    Attributes:
        cells: queued and running ones; none at all only lets others have their turn.
        alone: they are timed, so that no rows but one cell's own go through a network at a time.
    """

    cells: Sequence[Cell] = ()
    alone: bool = False


class Engine:
    """Owns a device: answers the queries of any cells, in batches bounded by memory.

    Args:
        device: where networks run.
        dtype: of their weights; None is what suits each model here. The state between steps keeps the model's own.
        max_rows: most rows in one forward pass; halved for good for a model with which memory runs out.
        watch: is told whose code is at work.
    """

    def __init__(
        self,
        device: torch.device,
        dtype: torch.dtype | None = None,
        max_rows: int | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.device, self.dtype = device, dtype
        self.watch = watch or Watch()
        self.max_rows = max_rows or (64 if device.type == "cpu" else 512)
        self._inside = Stopwatch(device)
        self._rows: weakref.WeakKeyDictionary[Model, int] = weakref.WeakKeyDictionary()
        self._conditions: OrderedDict[tuple[Model, str], Any] = OrderedDict()

    @property
    def network_seconds(self) -> float:
        """Time inside networks so far; waits for what an accelerator still has to do."""
        return self._inside.seconds

    def place(self, model: Model) -> torch.device:
        """Where a model runs: here, but MPS has no float64, so exact models stay on the CPU beside it."""
        if self.device.type == "mps" and model.precision == "float64":
            return torch.device("cpu")
        return self.device

    def dtype_of(self, model: Model) -> torch.dtype:
        """The precision of a model's networks, where a cell asks for no other."""
        return self.dtype or resolve_dtype("auto", self.device, model.dtype)

    def rows_of(self, model: Model) -> int:
        """Most rows in one forward pass of a model's networks."""
        return self._rows.get(model, self.max_rows)

    @torch.no_grad()
    def tick(self, cells: Sequence[Cell]) -> None:
        """Start the queued cells, and answer the pending query of every running one, once.

        An error of one cell, or of the network on one cell's rows, fails that cell and leaves the others unharmed.
        """
        self.start(cells)
        groups: dict[tuple[Model, torch.dtype | None, str, type, bool], list[Cell]] = {}
        for cell in cells:
            if (query := cell.query) is not None:
                told = isinstance(query, Query) and query.told_scale is not None
                key = (cell.model, cell.dtype, query.role, type(query), told)
                groups.setdefault(key, []).append(cell)
        for group in groups.values():
            self._answer(group)

    @torch.no_grad()
    def start(self, cells: Sequence[Cell]) -> None:
        """Load what queued cells need, which is not charged to them, and bring them to their first query."""
        for cell in cells:
            if cell.status != "queued":
                continue
            try:
                decoder = ("decoder",) if "decoder" in cell.model.roles else ()
                for role in (*required_roles(cell.sampler, cell.conditioners), *decoder):
                    self._network(cell, role)
                for text in [*cell.conditions.values(), *([""] if cell.maps else [])]:
                    self._condition(cell.model, text)
            except (Exception, SystemExit) as error:
                cell.fail(error)
                continue
            started = time.perf_counter()
            with self.watch.during(cell.label, cell):
                cell.start(self.place(cell.model))
            cell.charge(time.perf_counter() - started)

    def run(self, work: Generator[Pending | Y, None, Any]) -> list[Y]:
        """Take a work to its end; all that it yields but `Pending`."""
        return list(answered(self, work))

    def warm_up(self, cells: Sequence[Cell]) -> Iterator[Pending]:
        """Load the networks and ask each of them once, so that "time alone" does not pay for loading and start-up."""
        rehearsals = [rehearsal(cell) for cell in cells]
        try:
            while waiting := [cell for cell in rehearsals if cell.unfinished]:
                yield Pending(waiting, alone=True)
        finally:
            for cell in rehearsals:
                cell.cancel()
            self._inside.settle()

    def _answer(self, cells: Sequence[Cell]) -> None:
        asks = {ClassQuery: self._ask_classifier, Decoding: self._ask_decoder}
        ask: Callable[[Sequence[Cell]], Any] = asks.get(type(cells[0].query), self._ask)
        try:
            replies: Sequence[tuple[Prediction | Endpoint | torch.Tensor, float]] = ask(cells)
        except (Exception, SystemExit) as error:
            if len(cells) == 1:
                cells[0].fail(error)
                return
            for cell in cells:  # find out whose rows the network refused
                self._answer([cell])
            return
        for cell, (answer, seconds) in zip(cells, replies, strict=True):
            started = time.perf_counter()
            with self.watch.during(cell.label, cell):
                cell.reply(answer)
            cell.charge(seconds + time.perf_counter() - started)

    def _ask(self, cells: Sequence[Cell]) -> list[tuple[Prediction | Endpoint, float]]:
        """One prediction per cell, and the seconds it cost: the cell's share of the batch's rows."""
        started = time.perf_counter()
        model, role = cells[0].model, _query(cells[0]).role
        network = self._network(cells[0], role)
        states, times, conditions, weights, scales = [], [], [], [], []
        for cell in cells:
            query = _query(cell)
            _refuse_guided_endpoint(model, query)
            x, level = _as_the_network_sees(model, network, query)
            weights.append([query.terms[name] for name in weighted(query)])
            for name in weighted(query):
                states.append(x)
                times.extend([level.t] * len(x))
                conditions.extend([self._condition(model, cell.conditions[name])] * len(x))
                scales.extend([query.told_scale] * len(x))
        rows = torch.cat(states)
        t = sent(torch.tensor(times, dtype=rows.dtype), rows.device)
        inputs: list[Any] = [rows, t, conditions]
        if scales[0] is not None:
            inputs.append(sent(torch.tensor(scales, dtype=rows.dtype), rows.device))
        residuals, extra = control_residuals(cells, self._ask_control)

        def answer(part: slice) -> torch.Tensor:
            added = [[r[part] for r in residuals]] if residuals else []
            answered: torch.Tensor = network(*(each[part] for each in inputs), *added)
            return answered

        output = self._in_micro_batches(model, rows, answer)
        share = None
        if model.learns_variance(role) and output.shape[1] == 2 * rows.shape[1]:
            output, v = output.chunk(2, 1)
            share = (v + 1) / 2
        if output.shape != rows.shape:
            raise ValueError(f"the network answered {tuple(output.shape)} to rows {tuple(rows.shape)}")
        predictions = []
        first = 0
        for cell, ws in zip(cells, weights, strict=True):
            n = len(cell.seeds)
            outputs = [output[first + i * n : first + (i + 1) * n] for i in range(len(ws))]
            prediction = _prediction(model, network, _query(cell), outputs, ws)
            if share is not None and isinstance(prediction, Prediction):
                # The prompt's own, which guidance leaves alone.
                own = first + n * _place_of_prompt(_query(cell))
                prediction = _with_share(prediction, share[own : own + n])
            predictions.append(prediction)
            first += len(ws) * n
        seconds = (time.perf_counter() - started - sum(extra)) / len(times)
        return [
            (p, seconds * len(ws) * len(c.seeds) + more)
            for p, ws, c, more in zip(predictions, weights, cells, extra, strict=True)
        ]

    def _ask_control(self, role: str, asks: Sequence[ControlAsk]) -> list[torch.Tensor]:
        """The residuals of one control network, (rows, …) each, for all that it is asked."""
        model = asks[0].cell.model
        network: ControlNetwork = self._network(asks[0].cell, role)
        states, times, conditions, maps = [], [], [], []
        for ask in asks:
            x, level = _as_the_network_sees(model, network, _query(ask.cell))
            states.append(x)
            times.extend([level.t] * len(x))
            conditions.extend([self._condition(model, ask.text)] * len(x))
            pixels = sent(ask.cell.maps[ask.control.source].to(x.dtype), x.device)
            maps.append(pixels.expand(len(x), -1, -1, -1))
        rows, pictures = torch.cat(states), torch.cat(maps)
        t = sent(torch.tensor(times, dtype=rows.dtype), rows.device)
        shapes: list[torch.Size] = []

        def answer(part: slice) -> torch.Tensor:
            residuals = network(rows[part], t[part], conditions[part], pictures[part])
            shapes[:] = [residual.shape[1:] for residual in residuals]
            return torch.cat([residual.flatten(1) for residual in residuals], 1)

        flat = self._in_micro_batches(model, rows, answer)
        parts = torch.split(flat, [shape.numel() for shape in shapes], 1)
        return [part.view(len(rows), *shape) for part, shape in zip(parts, shapes, strict=True)]

    def _ask_classifier(self, cells: Sequence[Cell]) -> list[tuple[torch.Tensor, float]]:
        """∇_x log p(target | x) per cell, and the seconds it cost: the cell's share of the batch's rows."""
        started = time.perf_counter()
        queries = [query for cell in cells if isinstance(query := cell.query, ClassQuery)]
        model, role = cells[0].model, queries[0].role
        network: Classifier = self._network(cells[0], role)
        states, times, targets, scales = [], [], [], []
        for cell, query in zip(cells, queries, strict=True):
            x, level = _as_the_network_sees(model, network, query)
            target = model.target(cell.conditions[PROMPT], query.target, role)
            states.append(x)
            times.extend([level.t] * len(x))
            targets.extend([list(network.classes).index(target)] * len(x))
            scales.append(level.alpha / query.level.alpha)
        rows = torch.cat(states)
        t = sent(torch.tensor(times, dtype=rows.dtype), rows.device)
        indices = sent(torch.tensor(targets), rows.device)
        gradient = self._in_micro_batches(
            model, rows, lambda part: class_gradient(network, rows[part], t[part], indices[part])
        )
        share = (time.perf_counter() - started) / len(times)
        parts = torch.split(gradient, [len(x) for x in states])
        return [(scale * part, share * len(part)) for scale, part in zip(scales, parts, strict=True)]

    def _ask_decoder(self, cells: Sequence[Cell]) -> list[tuple[torch.Tensor, float]]:
        """The pictures of each cell's sample, on the CPU, and the seconds they cost."""
        started = time.perf_counter()
        decoder: Decoder = self._network(cells[0], "decoder")
        samples = [cell.query.x for cell in cells if isinstance(cell.query, Decoding)]
        with self._inside.running():
            decoded = decoder(torch.cat(samples)).float()
        pictures = decoded.cpu()
        seconds = time.perf_counter() - started
        parts = torch.split(pictures, [len(x) for x in samples])
        return [(part, seconds * len(part) / len(pictures)) for part in parts]

    def _in_micro_batches(
        self, model: Model, x: torch.Tensor, answer: Callable[[slice], torch.Tensor]
    ) -> torch.Tensor:
        """The answers to all rows of x, some rows at a time; when memory runs out, without other models, then fewer."""
        outputs, first = [], 0
        while first < len(x):
            most = self.rows_of(model)
            chunk = slice(first, first + most)
            short_of_memory = False
            try:
                with self._inside.running():
                    outputs.append(answer(chunk).to(x.dtype))
            except (MemoryError, RuntimeError) as error:
                last = most == 1 and not shelf.holds_others(x.device, model)
                if not out_of_memory(error) or last:
                    raise
                short_of_memory = True
            if not short_of_memory:
                first = chunk.stop
                continue
            # Only here, with the error gone, is the memory of the failed pass free again.
            if not shelf.release(x.device, keep=model):
                self._rows[model] = max(1, min(most, len(x) - first) // 2)
            if x.device.type == "cuda":
                torch.cuda.empty_cache()
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def _network(self, cell: Cell, role: str) -> Any:
        model = cell.model
        return model.network(role, self.place(model), cell.dtype or self.dtype_of(model))

    def _condition(self, model: Model, text: str) -> Any:
        key = (model, text)
        if key not in self._conditions:
            self._conditions[key] = model.condition(text, self.place(model))
            if len(self._conditions) > TEXTS:
                self._conditions.popitem(last=False)
        self._conditions.move_to_end(key)
        return self._conditions[key]


def turns(
    cells: Sequence[Cell],
    cancelled: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.perf_counter,
    alone: bool = False,
) -> Generator[tuple[int, Cell] | Pending, None, None]:
    """Run cells to their end; yields (index, cell) for a cell that ended, or that has a new preview to show.

    In between it yields what is `Pending`, and of that, it is for the caller to have some answered.

    Previews come for all cells at once, so seldom that they, and what the caller does with them, take
    `PREVIEW_SHARE` of the time. Cancelling, or closing this generator, takes effect within one tick.
    """
    shown: set[int] = set()
    seen: dict[int, torch.Tensor] = {}
    next_preview = clock()
    try:
        while True:
            if cancelled():
                for cell in cells:
                    if cell.unfinished:
                        cell.cancel()
            for i, cell in enumerate(cells):
                if not cell.unfinished and i not in shown:
                    shown.add(i)
                    yield i, cell
            unfinished = [cell for cell in cells if cell.unfinished]
            if not unfinished:
                return
            yield Pending(unfinished, alone)
            started = clock()
            if started >= next_preview:
                for i, cell in enumerate(cells):
                    if cell.running and cell.preview is not None and cell.preview is not seen.get(i):
                        seen[i] = cell.preview
                        yield i, cell
                spent = clock() - started
                next_preview = clock() + max(0.1, spent / PREVIEW_SHARE)
    finally:
        for cell in cells:
            if cell.unfinished:
                cell.cancel()


def answered(engine: Engine, work: Generator[Pending | Y, None, R]) -> Generator[Y, None, R]:
    """A work with all that it waits for answered by an engine that nobody shares; ends with its result."""
    with closing(work):
        while True:
            try:
                turn = next(work)
            except StopIteration as stop:
                result: R = stop.value
                return result
            if isinstance(turn, Pending):
                engine.tick(turn.cells)
            else:
                yield turn


def drive(
    engine: Engine,
    cells: Sequence[Cell],
    cancelled: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.perf_counter,
) -> Generator[tuple[int, Cell], None, None]:
    """`turns` on an engine that nobody shares: yields (index, cell) for cells that ended or have a preview."""
    yield from answered(engine, turns(cells, cancelled, clock))


def class_gradient(
    network: Classifier, x: torch.Tensor, t: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """∇_x log p(target | x) of every row, (rows, *shape): the gradient of the sum over the rows.

    Args:
        network: its logits go through the softmax in the precision of x.
        x: states, (rows, *shape).
        t: the network's name for the level of each row, (rows,).
        targets: index into `network.classes` for each row, (rows,).

    Raises:
        ValueError: the logits are not of shape (rows, K).

    References:
        Dhariwal & Nichol 2021, arXiv:2105.05233.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        logits = network(x, t)
        expected = (len(x), len(network.classes))
        if logits.shape != expected:
            raise ValueError(f"the classifier answered {tuple(logits.shape)}, expected logits {expected}")
        log_p = logits.to(x.dtype).log_softmax(1)
        return torch.autograd.grad(log_p.gather(1, targets[:, None]).sum(), x)[0]


def network_level(model: Model, network: Network | Classifier | ControlNetwork, level: Level) -> Level:
    """The same log-SNR in the scaling and time of the network's own schedule.

    Raises:
        ValueError: the level is one that the network cannot be asked about: it is clean, or beyond its schedule's ends.
    """
    if level.t is None:
        raise ValueError("the clean level has no noise: there is nothing to ask a network there")
    if network.schedule is model.schedule:
        return level
    own = network.schedule.level_at(level.log_snr)
    if not abs(own.log_snr - level.log_snr) <= LOG_SNR_SLACK:
        low, high = network.schedule.sigma_range
        raise ValueError(
            f"the network's own schedule has sigma/alpha within {low:.3g} … {high:.3g}, so it cannot be asked about "
            f"{level.sigma / level.alpha:.3g}: take levels within that range, such as by a sampler's sigma_max"
        )
    return own


def _prediction(
    model: Model, network: Network, query: Query, outputs: Sequence[torch.Tensor], weights: Sequence[float]
) -> Prediction | Endpoint:
    """Guide, project, derive eps again, in this order; a consistency network's answer is projected only."""
    output = outputs[0] if weights == [1.0] else _weighted(outputs, weights)
    x, level = _as_the_network_sees(model, network, query)
    x0 = to_x0(network.prediction, output, x, level)
    if model.is_consistency(query.role):
        return Endpoint(query.x, query.level, model.project(x0, query.threshold))
    unguided = _projected(model, query, x0)
    if not isinstance(query.guidance, torch.Tensor):
        return unguided
    shift = query.level.sigma**2 / query.level.alpha
    guided = _projected(model, query, x0 + shift * query.guidance)
    return replace(guided, guidance=query.guidance, unguided=unguided)


def _projected(model: Model, query: Query, x0: torch.Tensor) -> Prediction:
    x0 = model.project(x0, query.threshold)
    return Prediction(query.x, query.level, x0, to_eps(x0, query.x, query.level))


def _refuse_guided_endpoint(model: Model, query: Query) -> None:
    """Raises ValueError where a consistency network is asked for what only a mean of x0 can give."""
    single = [weight for weight in query.terms.values() if weight != 0] == [1.0]
    if model.is_consistency(query.role) and (not single or isinstance(query.guidance, torch.Tensor)):
        raise ValueError(
            f"{query.role} says where the ODE ends, not the mean of x0, and cannot be guided: ask it about one "
            "condition, with weight 1 and no guidance"
        )


def _as_the_network_sees(
    model: Model, network: Network | Classifier | ControlNetwork, query: Query | ClassQuery
) -> tuple[torch.Tensor, Level]:
    """The query's state and level in the scaling and time of the network's own schedule."""
    level = network_level(model, network, query.level)
    if level.alpha == query.level.alpha:
        return query.x, level
    return query.x * (level.alpha / query.level.alpha), level


def _weighted(outputs: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    total = outputs[0] * weights[0]
    for output, weight in zip(outputs[1:], weights[1:], strict=True):
        total = total + output * weight
    return total


def _place_of_prompt(query: Query) -> int:
    """Which of the terms that have weight is the prompt; the first if none is."""
    names = [name for name, weight in query.terms.items() if weight != 0]
    return names.index(PROMPT) if PROMPT in names else 0


def _with_share(prediction: Prediction, share: torch.Tensor) -> Prediction:
    unguided = prediction.unguided and replace(prediction.unguided, variance_share=share)
    return replace(prediction, variance_share=share, unguided=unguided)


def _query(cell: Cell) -> Query:
    assert isinstance(cell.query, Query)
    return cell.query
