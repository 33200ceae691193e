"""Conditioners: generators around a sampler's queries that bend the answers."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.prediction import Prediction
from zoo.sampler import ClassQuery, Control, Parameters, Queries, Query

if TYPE_CHECKING:
    from zoo.model import Model

Guidance = Generator[Query | ClassQuery, Any, Prediction]
"""What `Conditioner.guide` returns: asks queries of its own, ends with the prediction to hand on."""


class Conditioner:
    """Turns one query into others, and their replies into one prediction."""

    class Params(Parameters):
        """Parameters of the conditioner; the page and the command line are built from this model."""

    def __init__(self, params: Params | None = None) -> None:
        self.params = params if params is not None else self.Params()

    def requires(self) -> tuple[str, ...]:
        """The roles of the networks that it asks besides the sampler's own."""
        return ()

    def needs_mean(self) -> bool:
        """Whether it combines or shifts predicted means of x0, which a consistency network does not give."""
        return False

    def controls(self) -> tuple[Control, ...]:
        """The controls that it adds to queries; their maps are made before anything runs."""
        return ()

    def check(self, model: Model, conditions: Mapping[str, str]) -> None:
        """Refuse a model, or the texts of the conditions, for which it makes no sense; by default none.

        Raises:
            ValueError: why not; the cell is then N/A with this message.
        """

    def guide(self, query: Query) -> Guidance:
        """Answer the query of the sampler (or of the conditioner to the right); as it stands, unchanged."""
        prediction: Prediction = yield query
        return prediction


def conditioned(queries: Queries, conditioners: Sequence[Conditioner]) -> Queries:
    """A sampler's queries as they reach the engine, through conditioners of which the leftmost is nearest to it."""
    for conditioner in reversed(conditioners):
        queries = _through(queries, conditioner)
    return queries


def _through(queries: Queries, conditioner: Conditioner) -> Queries:
    try:
        query = next(queries)
        while True:
            if isinstance(query, ClassQuery):  # what a classifier says depends on no condition
                reply = yield query
            else:
                reply = yield from conditioner.guide(query)
            query = queries.send(reply)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        queries.close()
