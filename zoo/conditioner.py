"""Conditioners: generators around a sampler's queries that bend the answers."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from zoo.prediction import Prediction
from zoo.sampler import Parameters, Queries, Query

Guidance = Generator[Query, Prediction, Prediction]
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

    def guide(self, query: Query) -> Guidance:
        """Answer the query of the sampler (or of the conditioner to the right); as it stands, unchanged."""
        return (yield query)


def conditioned(queries: Queries, conditioners: Sequence[Conditioner]) -> Queries:
    """A sampler's queries as they reach the engine, through conditioners of which the leftmost is nearest to it."""
    for conditioner in reversed(conditioners):
        queries = _through(queries, conditioner)
    return queries


def _through(queries: Queries, conditioner: Conditioner) -> Queries:
    try:
        query = next(queries)
        while True:
            prediction = yield from conditioner.guide(query)
            query = queries.send(prediction)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        queries.close()
