"""Owns a device: gathers the queries that cells wait on, answers them in one batch, hands the replies back.

`tick` is a plain function of the cells it is given: it neither knows nor cares which comparison they belong to.
What goes into a network and what comes out of it is in `zoo.answers`; `zoo.driving` and `zoo.loop` choose the cells.
"""

from __future__ import annotations

import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, TypeVar

import torch

from zoo.answers import as_the_network_sees, class_gradient, refuse_guided_endpoint, reply
from zoo.cell import Cell, Decoding, required_roles, weighted
from zoo.device import resolve_dtype, sent
from zoo.driving import Pending, answered
from zoo.memory import out_of_memory, shelf
from zoo.model import Classifier, ControlNetwork, Decoder, Model
from zoo.prediction import Endpoint, Prediction
from zoo.rehearsal import rehearsal
from zoo.residuals import ControlAsk, control_residuals
from zoo.sampler import PROMPT, ClassQuery, Query
from zoo.stopwatch import Stopwatch
from zoo.watchdog import Watch

TEXTS = 256
"""Of more texts than this, the encodings of those used longest ago are forgotten."""

Y = TypeVar("Y")


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
        states, times, conditions, scales = [], [], [], []
        for cell in cells:
            query = _query(cell)
            refuse_guided_endpoint(model, query)
            x, level = as_the_network_sees(model, network, query)
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
        variances = None
        if model.learns_variance(role) and output.shape[1] == 2 * rows.shape[1]:
            output, v = output.chunk(2, 1)
            variances = (v + 1) / 2
        if output.shape != rows.shape:
            raise ValueError(f"the network answered {tuple(output.shape)} to rows {tuple(rows.shape)}")
        predictions = []
        first = 0
        for cell in cells:
            own = slice(first, first + cell.rows)
            terms = cell.rows // len(cell.seeds)
            shares = variances[own].chunk(terms) if variances is not None else ()
            predictions.append(reply(model, network, _query(cell), output[own].chunk(terms), shares))
            first = own.stop
        seconds = (time.perf_counter() - started - sum(extra)) / len(times)
        return [
            (prediction, seconds * cell.rows + more)
            for prediction, cell, more in zip(predictions, cells, extra, strict=True)
        ]

    def _ask_control(self, role: str, asks: Sequence[ControlAsk]) -> list[torch.Tensor]:
        """The residuals of one control network, (rows, …) each, for all that it is asked."""
        model = asks[0].cell.model
        network: ControlNetwork = self._network(asks[0].cell, role)
        states, times, conditions, maps = [], [], [], []
        for ask in asks:
            x, level = as_the_network_sees(model, network, _query(ask.cell))
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
            x, level = as_the_network_sees(model, network, query)
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


def _query(cell: Cell) -> Query:
    assert isinstance(cell.query, Query)
    return cell.query
