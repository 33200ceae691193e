"""The way of every sample from its noise to the data, recorded at each level where a method asks its network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zoo.comparison import Comparison
from zoo.conditioner import Conditioner, Guidance
from zoo.metric import NoScore, Score
from zoo.planning import plan
from zoo.prediction import Prediction
from zoo.registry import Registry, default_registry
from zoo.sampler import PROMPT, Query
from zoo.schedule import Level

if TYPE_CHECKING:
    import torch

    from zoo.cell import Cell, Status
    from zoo.engine import Engine
    from zoo.limits import Limits
    from zoo.loop import Loop
    from zoo.model import Model


@dataclass(frozen=True, eq=False)
class Path:
    """States of n samples at descending noise levels.

    Attributes:
        levels: k of them, noisiest first.
        states: x at each level, (k, n, *shape), on the CPU.
    """

    levels: tuple[Level, ...]
    states: torch.Tensor


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What one method did with the noise of every seed.

    Attributes:
        method: in one line.
        status: done, failed, cancelled or na; `error` says why there is no path.
        path: the states at which the network was asked, the last ones being the samples; None unless done.
        x0: what it answered there, (k − 1, n, *shape); None unless done.
        terms: the weights of the conditions in its last query, such as {"prompt": 3, "negative": -2}.
        nfe: network evaluations per image, by role.
        solution: the probability-flow ODE from the same noise under the same conditioners; None for a method that
            draws noise on the way.
        exact: whether `solution` is closed form; otherwise it is solved in fine steps.
        error_to_solution: distance of the samples from its end.
        energy: energy distance of the samples to exact ones of the prompt, or why there is none.
    """

    method: str
    status: Status
    error: str = ""
    path: Path | None = None
    x0: torch.Tensor | None = None
    terms: Mapping[str, float] = field(default_factory=dict)
    nfe: Mapping[str, int] = field(default_factory=dict)
    solution: Path | None = None
    exact: bool = False
    error_to_solution: Score | None = None
    energy: Score | NoScore | None = None


class Recorder(Conditioner):
    """Changes nothing, and keeps the state, the answer and the level of every query that passes.

    Its place is the leftmost, where a query arrives as the network gets it. A query at the same level as an earlier
    one, or at a noisier level, takes its place: a corrector asks again where its predictor had, and churn goes back
    up a little.
    """

    def __init__(self) -> None:
        super().__init__()
        self.levels: list[Level] = []
        self.states: list[torch.Tensor] = []
        self.x0: list[torch.Tensor] = []
        self.terms: Mapping[str, float] = {}

    def guide(self, query: Query) -> Guidance:
        prediction: Prediction = yield query
        while self.levels and self.levels[-1].log_snr >= query.level.log_snr:
            for kept in (self.levels, self.states, self.x0):
                kept.pop()
        self.levels.append(query.level)
        self.states.append(query.x.detach().cpu())
        self.x0.append(prediction.x0.detach().cpu())
        self.terms = query.terms
        return prediction

    def path(self, end: Level, samples: torch.Tensor) -> Path:
        """What was recorded, and the samples at the level where they are."""
        import torch

        return Path((*self.levels, end), torch.stack([*self.states, samples.cpu()]))


def trace(
    comparison: Comparison,
    *,
    device: str = "auto",
    limits: Limits | None = None,
    registry: Registry | None = None,
    on: Loop | None = None,
) -> list[Trajectory]:
    """Run a comparison, all its cells in one batch, and keep every state on the way.

    Args and errors are those of `zoo.compare`; `on` is a loop to run on beside others, whose device it then is.
    """
    import torch

    from zoo.device import resolve_device
    from zoo.driving import turns
    from zoo.engine import Engine
    from zoo.limits import Limits

    registry = registry or default_registry()
    limits = limits or Limits()
    planned = plan(comparison, registry, limits)
    cells = [cell for cell in planned if not isinstance(cell, str)]
    recorders = _watched(cells)
    solved = _fine_solutions(cells, limits)
    fine = _watched(list(solved.values()))
    engine = on or Engine(resolve_device(device))
    together = [*cells, *solved.values()]
    for each in together:
        each.dtype = torch.float32
    engine.run(turns(together))
    found = []
    for method, cell in zip(comparison.cells, planned, strict=True):
        if isinstance(cell, str):
            found.append(Trajectory(str(method), "na", cell))
            continue
        solution = solved.get(_guidance(cell.conditioners))
        found.append(
            _trajectory(str(method), cell, recorders[cell], solution, fine, engine)
            if cell.status == "done"
            else Trajectory(str(method), cell.status, cell.error, nfe=dict(cell.nfe))
        )
    return found


def _trajectory(
    method: str,
    cell: Cell,
    recorder: Recorder,
    solution: Cell | None,
    fine: Mapping[Cell, Recorder],
    engine: Engine | Loop,
) -> Trajectory:
    import torch

    from zoo.metrics.solution import distance

    assert cell.samples is not None and cell.levels is not None
    way, exact = None, False
    if not cell.sampler.is_stochastic():
        way = _closed_form(cell.model, cell)
        exact = way is not None
        if way is None and solution is not None and solution.samples is not None:
            assert solution.levels is not None
            way = fine[solution].path(solution.levels[-1], solution.samples)
    return Trajectory(
        method,
        cell.status,
        path=recorder.path(cell.levels[-1], cell.samples),
        x0=torch.stack(recorder.x0),
        terms=dict(recorder.terms),
        nfe=dict(cell.nfe),
        solution=way,
        exact=exact,
        error_to_solution=None if way is None else distance(cell.samples.cpu(), way.states[-1]),
        energy=_energy(cell, engine),
    )


def _watched(cells: Sequence[Cell]) -> dict[Cell, Recorder]:
    """A recorder for each cell, put where the network is."""
    recorders = {cell: Recorder() for cell in cells}
    for cell, recorder in recorders.items():
        cell.conditioners = (recorder, *cell.conditioners)
    return recorders


def _fine_solutions(cells: Sequence[Cell], limits: Limits) -> dict[Any, Cell]:
    """A cell that solves the ODE in fine steps for each guidance under which a deterministic method runs."""
    from zoo.cell import Cell
    from zoo.limits import Limits
    from zoo.metrics.solution import FineSolution

    solved = {}
    for cell in cells:
        if cell.sampler.is_stochastic() or "denoiser" not in cell.model.roles:
            continue
        if _class_of(cell) is not None:
            continue
        conditioners = [type(c)(c.params) for c in cell.conditioners[1:]]  # afresh: some may keep a state
        solved[_guidance(cell.conditioners)] = Cell(
            cell.model,
            FineSolution(),
            conditioners,
            cell.conditions,
            cell.seeds,
            Limits(nfe=None, seconds=limits.seconds),
            maps=cell.maps,
        )
    return solved


def _guidance(conditioners: Sequence[Conditioner]) -> Any:
    """Equal for cells that follow the same ODE."""
    return tuple((type(c), c.params.model_dump_json()) for c in conditioners)


def _class_of(cell: Cell) -> int | None:
    """The one class whose ODE the cell solves, and whose solution is closed form; None if there is none."""
    from zoo.models.exact import GaussianMixture

    if len(cell.conditioners) > 1 or not isinstance(cell.model, GaussianMixture):
        return None
    import torch

    return cell.model.condition(cell.conditions[PROMPT], torch.device("cpu"))


def _closed_form(model: Model, cell: Cell) -> Path | None:
    """The exact solution at the levels of the fine one."""
    import torch

    from zoo.metrics.solution import FineSolution
    from zoo.models.exact import GaussianMixture
    from zoo.noise import start_noise

    condition = _class_of(cell)
    if condition is None:
        return None
    assert isinstance(model, GaussianMixture)
    levels = tuple(FineSolution().levels(model.schedule))
    noise = torch.from_numpy(start_noise(cell.seeds, model.shape)) * model.schedule.start_scale(levels[0])
    return Path(levels, torch.stack([model.solve(noise, levels[0], s, condition) for s in levels]))


def _energy(cell: Cell, engine: Engine | Loop) -> Score | NoScore | None:
    """Of exact models: how far the samples are from exact ones as a distribution."""
    from zoo.method import Part
    from zoo.metrics.exact import EnergyDistance
    from zoo.models.exact import GaussianMixture
    from zoo.scoring import score_cells

    if not isinstance(cell.model, GaussianMixture) or cell.samples is None:
        return None
    part = Part("energy_distance")
    work = score_cells({part: EnergyDistance()}, {0: (cell, cell.samples)}, engine)
    ((_, scores),) = engine.run(work)
    return scores[str(part)]
