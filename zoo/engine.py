"""Drives cells: gathers the queries that they wait on, answers them in one batch, hands the replies back.

`tick` is a plain function of the cells it is given: it neither knows nor cares which comparison they belong to.
`drive` repeats it until all cells have ended, and says when there is something to look at.
"""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from zoo.conditioner import Conditioner, conditioned
from zoo.model import Model, Network
from zoo.noise import KeyedNoise, fingerprint, start_noise
from zoo.prediction import Prediction, to_eps, to_x0
from zoo.sampler import Queries, Query, Sampler
from zoo.schedule import Level, Levels

Status = Literal["queued", "running", "done", "failed", "cancelled", "na"]

PREVIEW_SHARE = 0.02
"""Share of the time that previews may take, those who draw them included."""


@dataclass(frozen=True)
class Limits:
    """What one cell may cost; past it the cell fails and the others go on.

    Attributes:
        nfe: network evaluations per image, all roles together.
        seconds: the cell's share of the batches' time.
    """

    nfe: int | None = 10_000
    seconds: float | None = None


class Cell:
    """One method at work on one model, prompt and set of seeds.

    Attributes:
        status: queued, running, done, failed or cancelled.
        nfe: network evaluations per image so far, by role, counted where the network is called.
        seconds: this cell's share of the batches it was in, plus its own time between them.
        samples: the finished sample, (n, *shape); None before.
        preview: the last predicted x0, (n, *shape).
    """

    def __init__(
        self,
        model: Model,
        sampler: Sampler,
        conditioners: Sequence[Conditioner],
        conditions: Mapping[str, str],
        seeds: Sequence[int],
        limits: Limits | None = None,
    ) -> None:
        self.model, self.sampler, self.conditioners = model, sampler, tuple(conditioners)
        self.conditions, self.seeds, self.limits = dict(conditions), tuple(seeds), limits or Limits()
        self.status: Status = "queued"
        self.nfe: Counter[str] = Counter()
        self.seconds = 0.0
        self.step = 0
        self.levels: Levels | None = None
        self.noise_hash = ""
        self.samples: torch.Tensor | None = None
        self.preview: torch.Tensor | None = None
        self.error = ""
        self.traceback = ""
        self.query: Query | None = None
        self._queries: Queries | None = None

    @property
    def steps(self) -> int:
        """How many levels the sampler will visit."""
        return self.levels.steps if self.levels is not None else 0

    @property
    def running(self) -> bool:
        return self.status == "running"

    def start(self, device: torch.device) -> None:
        """Scale the start noise to the first level, and run the sampler up to its first query."""
        try:
            self.levels = self.sampler.levels(self.model.schedule)
            noise = start_noise(self.seeds, self.model.shape)
            self.noise_hash = fingerprint(noise)
            dtype = getattr(torch, self.model.precision)
            x = torch.from_numpy(noise * self.model.schedule.start_scale(self.levels[0])).to(device, dtype)
            draws = KeyedNoise(self.seeds, self.model.shape, like=x)
            self._queries = conditioned(self.sampler.sample(x, self.levels, draws), self.conditioners)
            self.status = "running"
        except Exception as error:
            self.fail(error)
            return
        self._advance(None)

    def reply(self, prediction: Prediction) -> None:
        """Hand a prediction to the sampler and run it up to its next query, or to its end."""
        self.preview = prediction.x0
        self._advance(prediction)

    def fail(self, error: BaseException) -> None:
        """End this cell with an error; whatever it has cost and shown so far is kept."""
        self.status = "failed"
        self.error = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        self.traceback = "".join(traceback.format_exception(error))
        self._close()

    def cancel(self) -> None:
        self.status = "cancelled"
        self._close()

    def charge(self, seconds: float) -> None:
        """Add to the time this cell has cost."""
        self.seconds += seconds
        if self.running and self.limits.seconds is not None and self.seconds > self.limits.seconds:
            self.fail(
                TimeoutError(f"used {self.seconds:.1f} s, the limit of a cell is {self.limits.seconds:g} s")
            )

    def _advance(self, prediction: Prediction | None) -> None:
        assert self._queries is not None
        try:
            query = next(self._queries) if prediction is None else self._queries.send(prediction)
            self._check_query(query)
            self._count(query)
            self.query = query
        except StopIteration as stop:
            try:
                self.samples = self._checked_samples(stop.value)
                self.step, self.status = self.steps, "done"
                self._close()
            except Exception as error:
                self.fail(error)
        except Exception as error:
            self.fail(error)

    def _check_query(self, query: Any) -> None:
        expected = (len(self.seeds), *self.model.shape)
        if not isinstance(query, Query):
            raise TypeError(f"a sampler must yield Query(x, level), this one yielded {type(query).__name__}")
        if tuple(query.x.shape) != expected:
            raise ValueError(f"the query's x has shape {tuple(query.x.shape)}, expected {expected}")
        unknown = set(query.terms) - set(self.conditions)
        if unknown:
            raise ValueError(f"unknown conditions {sorted(unknown)}; there are {sorted(self.conditions)}")
        if not any(query.terms.values()):
            raise ValueError("the weights of all conditions of the query are 0: nothing is asked")

    def _count(self, query: Query) -> None:
        """Charge the query's evaluations before they are made, so that the limit is never passed."""
        evaluations = sum(1 for weight in query.terms.values() if weight != 0)
        limit = self.limits.nfe
        if limit is not None and self.nfe.total() + evaluations > limit:
            raise RuntimeError(
                f"used up its {limit} network evaluations per image without ending; ask for fewer steps, "
                "or raise the limit"
            )
        self.nfe[query.role] += evaluations
        assert self.levels is not None
        while self.step < self.steps and self.levels[self.step].log_snr < query.level.log_snr:
            self.step += 1

    def _checked_samples(self, samples: Any) -> torch.Tensor:
        expected = (len(self.seeds), *self.model.shape)
        if not isinstance(samples, torch.Tensor) or tuple(samples.shape) != expected:
            given = tuple(samples.shape) if isinstance(samples, torch.Tensor) else type(samples).__name__
            raise ValueError(f"the sampler returned {given}, expected a tensor of shape {expected}")
        if not torch.isfinite(samples).all():
            raise FloatingPointError("the sample holds NaN or infinite numbers")
        return samples

    def _close(self) -> None:
        self.query = None
        if self._queries is not None:
            queries, self._queries = self._queries, None
            try:
                queries.close()
            except Exception as error:  # a plugin's clean-up must not undo what the cell has reached
                self.traceback += "".join(traceback.format_exception(error))


class Engine:
    """Owns a device: answers the queries of any cells, in batches bounded by memory.

    Args:
        device: where networks run.
        dtype: of their weights; the state between steps keeps the model's own.
        max_rows: most rows in one forward pass; halved for good when memory runs out.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype, max_rows: int | None = None) -> None:
        self.device, self.dtype = device, dtype
        self.max_rows = max_rows or (64 if device.type == "cpu" else 512)
        self.network_seconds = 0.0
        self._conditions: dict[tuple[Model, str], Any] = {}

    @torch.no_grad()
    def tick(self, cells: Sequence[Cell]) -> None:
        """Answer the pending query of every running cell, once.

        An error of one cell, or of the network on one cell's rows, fails that cell and leaves the others unharmed.
        """
        groups: dict[tuple[Model, str], list[Cell]] = {}
        for cell in cells:
            if cell.query is not None:
                groups.setdefault((cell.model, cell.query.role), []).append(cell)
        for group in groups.values():
            self._answer(group)

    @torch.no_grad()
    def start(self, cells: Sequence[Cell]) -> None:
        """Load what queued cells need, which is not charged to them, and bring them to their first query."""
        for cell in cells:
            if cell.status != "queued":
                continue
            try:
                for role in required_roles(cell.sampler, cell.conditioners):
                    cell.model.network(role, self.device, self.dtype)
                for text in cell.conditions.values():
                    self._condition(cell.model, text)
            except Exception as error:
                cell.fail(error)
                continue
            started = time.perf_counter()
            cell.start(self.device)
            cell.charge(time.perf_counter() - started)

    def warm_up(self, cells: Sequence[Cell]) -> None:
        """Load the networks and answer one throw-away tick, so that "time alone" does not pay for loading."""
        rehearsal = [Cell(c.model, c.sampler, c.conditioners, c.conditions, c.seeds, c.limits) for c in cells]
        self.start(rehearsal)
        self.tick(rehearsal)
        for cell in rehearsal:
            cell.cancel()

    def _answer(self, cells: Sequence[Cell]) -> None:
        try:
            replies = self._ask(cells)
        except Exception as error:
            if len(cells) == 1:
                cells[0].fail(error)
                return
            for cell in cells:  # find out whose rows the network refused
                self._answer([cell])
            return
        for cell, (prediction, seconds) in zip(cells, replies, strict=True):
            started = time.perf_counter()
            cell.reply(prediction)
            cell.charge(seconds + time.perf_counter() - started)

    def _ask(self, cells: Sequence[Cell]) -> list[tuple[Prediction, float]]:
        """One prediction per cell, and the seconds it cost: the cell's share of the batch's rows."""
        started = time.perf_counter()
        model, role = cells[0].model, _query(cells[0]).role
        network = model.network(role, self.device, self.dtype)
        states, times, conditions, weights = [], [], [], []
        for cell in cells:
            query = _query(cell)
            level = network_level(model, network, query.level)
            x = query.x if level.alpha == query.level.alpha else query.x * (level.alpha / query.level.alpha)
            weights.append([weight for weight in query.terms.values() if weight != 0])
            for name, weight in query.terms.items():
                if weight != 0:
                    states.append(x)
                    times.extend([level.t] * len(x))
                    conditions.extend([self._condition(model, cell.conditions[name])] * len(x))
        rows = torch.cat(states)
        output = self._forward(network, rows, torch.tensor(times, device=self.device), conditions)
        if output.shape != rows.shape:
            raise ValueError(f"the network answered {tuple(output.shape)} to rows {tuple(rows.shape)}")
        predictions = []
        first = 0
        for cell, ws in zip(cells, weights, strict=True):
            n = len(cell.seeds)
            outputs = [output[first + i * n : first + (i + 1) * n] for i in range(len(ws))]
            first += len(ws) * n
            predictions.append(_prediction(model, network, _query(cell), outputs, ws))
        share = (time.perf_counter() - started) / len(times)
        return [
            (p, share * len(ws) * len(c.seeds)) for p, ws, c in zip(predictions, weights, cells, strict=True)
        ]

    def _forward(
        self, network: Network, x: torch.Tensor, t: torch.Tensor, conditions: Sequence[Any]
    ) -> torch.Tensor:
        """The network's answer in micro-batches; when memory runs out, in smaller ones."""
        outputs, first = [], 0
        while first < len(x):
            chunk = slice(first, first + self.max_rows)
            started = time.perf_counter()
            try:
                outputs.append(network(x[chunk], t[chunk], conditions[chunk]).to(x.dtype))
            except (MemoryError, RuntimeError) as error:
                if not _out_of_memory(error) or self.max_rows == 1:
                    raise
                self.max_rows = max(1, min(self.max_rows, len(x) - first) // 2)
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
                continue
            finally:
                self.network_seconds += time.perf_counter() - started
            first = chunk.stop
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def _condition(self, model: Model, text: str) -> Any:
        key = (model, text)
        if key not in self._conditions:
            self._conditions[key] = model.condition(text, self.device)
        return self._conditions[key]


def drive(
    engine: Engine,
    cells: Sequence[Cell],
    cancelled: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[tuple[int, Cell]]:
    """Run cells to their end; yields (index, cell) for a cell that ended, or that has a new preview to show.

    Previews come for all cells at once, so seldom that they, and what the caller does with them, take
    `PREVIEW_SHARE` of the time. Cancelling, or closing this generator, takes effect within one tick.
    """
    shown: set[int] = set()
    next_preview = clock()
    try:
        engine.start(cells)
        while True:
            if cancelled():
                for cell in cells:
                    if cell.status in ("queued", "running"):
                        cell.cancel()
            ended = [i for i, c in enumerate(cells) if not c.running and i not in shown]
            for i in ended:
                shown.add(i)
                yield i, cells[i]
            running = [c for c in cells if c.running]
            if not running:
                return
            engine.tick(running)
            started = clock()
            if started >= next_preview:
                for i, cell in enumerate(cells):
                    if cell.running and cell.preview is not None:
                        yield i, cell
                spent = clock() - started
                next_preview = clock() + max(0.1, spent / PREVIEW_SHARE)
    finally:
        for cell in cells:
            if cell.running:
                cell.cancel()


def required_roles(sampler: Sampler, conditioners: Sequence[Conditioner]) -> tuple[str, ...]:
    """The networks that a method asks, each once."""
    roles = [*sampler.requires(), *(role for c in conditioners for role in c.requires())]
    return tuple(dict.fromkeys(roles))


def network_level(model: Model, network: Network, level: Level) -> Level:
    """The same log-SNR in the scaling and time of the network's own schedule.

    Raises:
        ValueError: the level is one that the network cannot be asked about.
    """
    if level.t is None:
        raise ValueError("the clean level has no noise: there is nothing to ask a network there")
    if network.schedule is model.schedule:
        return level
    return network.schedule.level_at(level.log_snr)


def _prediction(
    model: Model, network: Network, query: Query, outputs: Sequence[torch.Tensor], weights: Sequence[float]
) -> Prediction:
    """Guide, project, derive eps again, in this order."""
    output = outputs[0] if weights == [1.0] else _weighted(outputs, weights)
    level = network_level(model, network, query.level)
    x = query.x if level.alpha == query.level.alpha else query.x * (level.alpha / query.level.alpha)
    x0 = model.project(to_x0(network.prediction, output, x, level), query.threshold)
    return Prediction(query.x, query.level, x0, to_eps(x0, query.x, query.level))


def _weighted(outputs: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    total = outputs[0] * weights[0]
    for output, weight in zip(outputs[1:], weights[1:], strict=True):
        total = total + output * weight
    return total


def _query(cell: Cell) -> Query:
    assert cell.query is not None
    return cell.query


def _out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    message = str(error).lower()
    return "out of memory" in message or "not enough memory" in message or "can't allocate memory" in message
