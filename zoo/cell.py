"""One method at work: its generator, the query it waits on, and what it has cost so far."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch

from zoo.conditioner import Conditioner, conditioned
from zoo.frames import Frames
from zoo.limits import Limits
from zoo.memory import out_of_memory
from zoo.model import Model
from zoo.noise import KeyedNoise, fingerprint, start_noise
from zoo.prediction import Endpoint, Prediction
from zoo.sampler import ClassQuery, Control, Queries, Query, Sampler, Source
from zoo.schedule import Level, Levels

Status = Literal["queued", "running", "done", "failed", "cancelled", "na"]


@dataclass(frozen=True)
class Decoding:
    """The last question of a cell on latents, after its sampler's: "what picture is this?"

    Attributes:
        x: the finished sample, (n, *shape).
        role: which of the model's networks is asked.
    """

    x: torch.Tensor
    role: str = "decoder"
    evaluations: ClassVar[int] = 1


class Cell:
    """One method at work on one model, prompt and set of seeds.

    Args:
        start_state: what the sampler starts from, (n, *shape) in the scaling of its first level (inversion: of its
            last); by default each seed's own noise.
        maps: control maps (3, H, W) within [0, 1], of all sources that its conditioners' controls name.
        label: what people call it, such as its method in one line.

    Attributes:
        status: queued, running, done, failed or cancelled.
        nfe: network evaluations per image so far, by role, counted where the network is called.
        seconds: this cell's share of the batches it was in, plus its own time between them.
        samples: the finished sample, (n, *shape); None before.
        images: what the model's decoder made of it, (n, 3, H, W) within [-1, 1]; None where it has none.
        preview: the last predicted x0, (n, *shape).
        frames: notes every answer on the way; None, unless somebody sets one before the start.
        dtype: of the networks that answer it; None, unless somebody sets one before the start, is the engine's.
        controls: those of the pending query that are active in its step.
    """

    def __init__(
        self,
        model: Model,
        sampler: Sampler,
        conditioners: Sequence[Conditioner],
        conditions: Mapping[str, str],
        seeds: Sequence[int],
        limits: Limits | None = None,
        start_state: torch.Tensor | None = None,
        maps: Mapping[Source, torch.Tensor] | None = None,
        label: str = "",
    ) -> None:
        self.model, self.sampler, self.conditioners = model, sampler, tuple(conditioners)
        self.conditions, self.seeds, self.limits = dict(conditions), tuple(seeds), limits or Limits()
        self.start_state = start_state
        self.maps = dict(maps or {})
        self.label = label or type(sampler).__name__
        self.status: Status = "queued"
        self.nfe: Counter[str] = Counter()
        self.seconds = 0.0
        self.step = 0
        self.levels: Levels | None = None
        self.noise_hash = ""
        self.samples: torch.Tensor | None = None
        self.images: torch.Tensor | None = None
        self.preview: torch.Tensor | None = None
        self.frames: Frames | None = None
        self.dtype: torch.dtype | None = None
        self.error = ""
        self.traceback = ""
        self.query: Query | ClassQuery | Decoding | None = None
        self.controls: tuple[Control, ...] = ()
        self._cost: Counter[str] = Counter()
        self._queries: Queries | None = None

    @property
    def steps(self) -> int:
        """How many levels the sampler will visit."""
        return self.levels.steps if self.levels is not None else 0

    @property
    def running(self) -> bool:
        return self.status == "running"

    @property
    def unfinished(self) -> bool:
        return self.status in ("queued", "running")

    @property
    def rows(self) -> int:
        """How many rows its next query adds to a forward pass, as far as that can be known."""
        terms = len(weighted(self.query)) if isinstance(self.query, Query) else 1
        return terms * len(self.seeds)

    def start(self, device: torch.device) -> None:
        """Bring the start state to the device, and run the sampler up to its first query."""
        try:
            levels = self.sampler.levels(self.model.schedule)
            if not isinstance(levels, Levels):
                raise TypeError(f"levels must return zoo.Levels, this one returned {type(levels).__name__}")
            self.levels = levels
            x = self._start_state(self.levels[0]).to(device, getattr(torch, self.model.precision))
            draws = KeyedNoise(self.seeds, self.model.shape, like=x)
            self._queries = conditioned(self.sampler.sample(x, self.levels, draws), self.conditioners)
            self.status = "running"
        except (Exception, SystemExit) as error:
            self.fail(error)
            return
        self._advance(None)

    def reply(self, answer: Prediction | Endpoint | torch.Tensor) -> None:
        """Hand the query's answer to the sampler and run it up to its next query, or to its end."""
        assert self.query is not None
        if isinstance(answer, (Prediction, Endpoint)):
            self.preview = answer.x0
        self.nfe.update(self._cost)
        if self.frames is not None and isinstance(answer, (Prediction, Endpoint)):
            try:
                self.frames.add(answer.level, answer.x, answer.x0, sum(self.nfe.values()), self.seconds)
            except (Exception, SystemExit) as error:  # of a plugin's model that cannot draw
                self.fail(error)
                return
        if isinstance(self.query, Decoding):
            assert isinstance(answer, torch.Tensor)
            self.images = answer
            self._finish()
        else:
            self._advance(answer)

    def control_text(self, control: Control, text: str) -> str:
        """The prompt that a control network gets beside a network that gets `text`."""
        return text if self.model.control(control.role).reads_prompt else ""

    def fail(self, error: BaseException) -> None:
        """End this cell with an error; whatever it has cost and shown so far is kept."""
        self.status = "failed"
        self.error = _told(error)
        if isinstance(error, MemoryError) or out_of_memory(RuntimeError(self.error)):
            # Asked of the text, since an error of a plugin's may not even be able to say what it is.
            self.error = (
                f"there is not enough memory for this cell: take fewer seeds or a smaller model. {self.error}"
            )
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

    def _start_state(self, level: Level) -> torch.Tensor:
        """The state that was given, or start noise scaled to the first level."""
        if self.start_state is None:
            noise = start_noise(self.seeds, self.model.shape)
            self.noise_hash = fingerprint(noise)
            return torch.from_numpy(noise * self.model.schedule.start_scale(level))
        expected = (len(self.seeds), *self.model.shape)
        if tuple(self.start_state.shape) != expected:
            raise ValueError(
                f"the start state has shape {tuple(self.start_state.shape)}, expected {expected}"
            )
        return self.start_state

    def _advance(self, answer: Prediction | Endpoint | torch.Tensor | None) -> None:
        assert self._queries is not None
        try:
            query = next(self._queries) if answer is None else self._queries.send(answer)
            if not self.running:  # it was given up while it computed
                return
            self._check_query(query)
            self._check_cost(query)
            self.query = query
        except StopIteration as stop:
            if not self.running:
                return
            try:
                self.samples = self._checked_samples(stop.value)
                self.step = self.steps
                if "decoder" in self.model.roles:
                    self.query = Decoding(self.samples)
                    self._cost = Counter({self.query.role: self.query.evaluations})
                else:
                    self._finish()
            except Exception as error:
                self.fail(error)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever a plugin raises, and sys.exit too, ends its own cell only
            self.fail(error)

    def pictures(self) -> torch.Tensor:
        """The finished sample as pictures, (n, 3, H, W) within [-1, 1], on the CPU."""
        assert self.samples is not None, "nothing is finished yet"
        return self.images if self.images is not None else self.model.pictures(self.samples)

    def _finish(self) -> None:
        self.status = "done"
        self._close()

    def _check_query(self, query: Any) -> None:
        expected = (len(self.seeds), *self.model.shape)
        if not isinstance(query, (Query, ClassQuery)):
            raise TypeError(f"a sampler must yield Query(x, level), this one yielded {type(query).__name__}")
        if tuple(query.x.shape) != expected:
            raise ValueError(f"the query's x has shape {tuple(query.x.shape)}, expected {expected}")
        if isinstance(query, ClassQuery):
            return
        if isinstance(query.guidance, torch.Tensor) and tuple(query.guidance.shape) != expected:
            raise ValueError(
                f"the query's guidance has shape {tuple(query.guidance.shape)}, expected {expected}"
            )
        unknown = set(query.terms) - set(self.conditions)
        if unknown:
            raise ValueError(f"unknown conditions {sorted(unknown)}; there are {sorted(self.conditions)}")
        if not any(query.terms.values()):
            raise ValueError("the weights of all conditions of the query are 0: nothing is asked")
        missing = [control for control in query.controls if control.source not in self.maps]
        if missing:
            raise ValueError(f"the query has {missing[0]}, which its conditioner's controls() did not name")

    def _check_cost(self, query: Query | ClassQuery) -> None:
        """Refuse a query before it is made if it would pass the limit; note how far the sampler has come."""
        self.controls = self._active_controls(query)
        self._cost = Counter({query.role: query.evaluations})
        passes = {
            (control.source, self.control_text(control, self.conditions[name]))
            for control in self.controls
            for name in weighted(query)
        }
        self._cost.update(source.role for source, _ in passes)
        limit = self.limits.nfe
        if limit is not None and sum(self.nfe.values()) + self._cost.total() > limit:
            raise RuntimeError(
                f"used up its {limit} network evaluations per image without ending; ask for fewer steps, "
                "or raise the limit"
            )
        assert self.levels is not None
        while self.step < self.steps and self.levels[self.step].log_snr < query.level.log_snr:
            self.step += 1

    def _active_controls(self, query: Query | ClassQuery) -> tuple[Control, ...]:
        """Where a query stands is told by its level, so that going up the levels makes no difference."""
        if isinstance(query, ClassQuery) or not query.controls:
            return ()
        assert self.levels is not None
        passed = sum(level.log_snr < query.level.log_snr for level in self.levels[:-1])
        step = min(passed, self.steps - 1)
        return tuple(control for control in query.controls if control.is_active(step, self.steps))

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
            except (Exception, SystemExit) as error:
                # A plugin's clean-up must not undo what the cell has reached.
                self.traceback += "".join(traceback.format_exception(error))


def _told(error: BaseException) -> str:
    """An error in one line; its text is the plugin's code again, and may itself raise."""
    try:
        text = str(error)
    except Exception:
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def weighted(query: Query | ClassQuery) -> list[str]:
    """The conditions of a query that have weight, which are those that the network is asked about."""
    return [] if isinstance(query, ClassQuery) else [name for name, w in query.terms.items() if w != 0]


def required_roles(sampler: Sampler, conditioners: Sequence[Conditioner]) -> tuple[str, ...]:
    """The networks that a method asks, each once; the decoder, which none does, is not among them."""
    roles = [*sampler.requires(), *(role for c in conditioners for role in c.requires())]
    return tuple(dict.fromkeys(roles))
