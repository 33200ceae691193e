"""The kit against conditioners, models and metrics that are wrong on purpose."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from tests.helpers import PixelModel, UnboundedModel, rowwise
from zoo import Absent, Annotator, Conditioner, Field, Metric, Score
from zoo.hookspecs import AnnotatorSpec, ConditionerSpec, MetricSpec, ModelSpec
from zoo.sampler import NEGATIVE, PROMPT, ClassQuery, Query
from zoo.testing import CHECKS, Check, CheckFailed, NotApplicable, Subject


def failing(spec) -> dict[str, str]:
    """The checks that fail, with their messages."""
    found = {}
    for function in CHECKS[spec.kind]:
        check = Check(function, Subject(spec, {}))
        try:
            check()
        except NotApplicable:
            pass
        except CheckFailed as failure:
            found[check.name] = str(failure)
    return found


class Guide(Conditioner):
    """Right: extrapolates by hand, and derives eps again."""

    class Params(Conditioner.Params):
        scale: float = Field(2.0, ge=0, le=10, title="Scale")

    def guide(self, query):
        towards = yield query
        base = yield replace(query, terms={NEGATIVE: 1.0})
        x0 = base.x0 + self.params.scale * (towards.x0 - base.x0)
        return replace(towards, x0=x0, eps=(query.x - query.level.alpha * x0) / query.level.sigma)


class ForgetsEps(Guide):
    def guide(self, query):
        reply = yield from super().guide(query)
        return replace(reply, eps=reply.eps + 0.1)


class RepliesWithATensor(Guide):
    def guide(self, query):
        return (yield query).x0


class Widens(Guide):
    def guide(self, query):
        reply = yield from super().guide(query)
        return replace(reply, x0=reply.x0.double(), eps=reply.eps.double())


class ChangesTheTerms(Guide):
    def guide(self, query):
        query.terms[PROMPT] = 0.5
        return (yield query)


class Counts(Guide):
    calls: ClassVar[list[int]] = []

    def guide(self, query):
        self.calls.append(1)
        reply = yield query
        x0 = reply.x0 + 1e-3 * len(self.calls)
        return replace(reply, x0=x0, eps=(query.x - query.level.alpha * x0) / query.level.sigma)


class GuidesByTheBatch(Guide):
    def guide(self, query):
        reply = yield from super().guide(query)
        x0 = reply.x0 / reply.x0.std()
        return replace(reply, x0=x0, eps=(query.x - query.level.alpha * x0) / query.level.sigma)


class Undeclared(Guide):
    def guide(self, query):
        yield ClassQuery(query.x, query.level)
        return (yield query)


class Immortal(Guide):
    def guide(self, query):
        try:
            return (yield query)
        except GeneratorExit:
            yield query


class InferenceWhileItWaits(Guide):
    def guide(self, query):
        with torch.inference_mode():
            return (yield query)


class AsksNow(Guide):
    """Draws noise of its own from torch's generator."""

    def guide(self, query):
        return (yield replace(query, x=query.x + 0.1 * torch.randn_like(query.x)))


class OnlyDown(Guide):
    def __init__(self, params=None):
        super().__init__(params)
        self.last = None

    def guide(self, query):
        assert self.last is None or query.level.log_snr > self.last
        self.last = query.level.log_snr
        return (yield query)


def test_a_right_conditioner_passes():
    assert failing(ConditionerSpec("specimen", Guide, title="Specimen")) == {}


@pytest.mark.parametrize(
    ("specimen", "check"),
    [
        (ForgetsEps, "each_query_gets_its_prediction"),
        (RepliesWithATensor, "each_query_gets_its_prediction"),
        (Widens, "single_precision_stays"),
        (ChangesTheTerms, "inputs_are_untouched"),
        (InferenceWhileItWaits, "settings_are_untouched"),
        (Counts, "same_seed_same_sample"),
        (Counts, "other_cells_do_not_matter"),
        (GuidesByTheBatch, "batch_split_does_not_matter"),
        (GuidesByTheBatch, "batch_partners_do_not_matter"),
        (Undeclared, "asks_only_what_it_requires"),
        (Immortal, "it_can_be_cancelled"),
        (AsksNow, "global_generators_are_untouched"),
        (OnlyDown, "it_goes_with_any_sampler"),
        (Query, "is_a_conditioner"),
    ],
)
def test_what_is_wrong_in_a_conditioner_is_caught(specimen, check):
    message = failing(ConditionerSpec("specimen", specimen, title="Specimen"))[check]
    assert f"docs/plugins/testing.md#{check}" in message


class Pixels(PixelModel):
    """Right."""

    def network(self, role, device, dtype):
        if role != "denoiser":
            raise LookupError(role)
        return super().network(role, device, dtype)


def model(function=rowwise, **methods):
    cls = type("Specimen", (Pixels,), methods)
    return ModelSpec("specimen", lambda: cls(function), title="Specimen")


def test_a_right_model_passes():
    assert failing(model()) == {}


@pytest.mark.parametrize(
    ("specimen", "check"),
    [
        (ModelSpec("specimen", object, title="Specimen"), "it_builds"),
        (model(prediction_kind=lambda self, role: "eps"), "predictions_are_known_beforehand"),
        (model(network=lambda self, *_: self), "an_unknown_role_is_refused"),
        (model(lambda x, t, texts: x[:, :1]), "answers_have_the_state_s_shape"),
        (model(lambda x, t, texts: x - x.mean()), "rows_do_not_matter_to_each_other"),
        (model(lambda x, t, texts: torch.dropout(x, 0.5, True)), "answers_are_repeatable"),
        (model(lambda x, t, texts: x.mul_(0.5)), "answers_are_repeatable"),
        (model(notices=lambda self, text: "none"), "texts_are_understood"),
        (model(pictures=lambda self, x: x), "pictures_can_be_looked_at"),
        (model(project=lambda self, x, threshold: 0.5 * x), "projecting_twice_is_projecting_once"),
        (
            model(lambda x, t, texts: x * t.where(t != 799, torch.nan).view(-1, 1, 1, 1)),
            "a_sampler_gets_through",
        ),
        (model(roles=("decoder",)), "predictions_are_known_beforehand"),
    ],
)
def test_what_is_wrong_in_a_model_is_caught(specimen, check):
    assert check in failing(specimen)


def test_a_model_whose_times_are_not_its_levels_is_caught():
    schedule = UnboundedModel(rowwise).schedule
    own = type(schedule).level
    schedule.level = lambda t: own(schedule, t * 0.9)
    wrong = ModelSpec("specimen", lambda: Pixels(rowwise, schedule=schedule), title="Specimen")
    assert "the_schedule_knows_its_levels" in failing(wrong)


class Brightness(Metric):
    """Right."""

    def score(self, cell):
        cell.must_have(2)
        return Score(float(cell.images.mean()), len(cell.seeds))


class Vague(Brightness):
    def score(self, cell):
        raise Absent("")


class Bare(Brightness):
    def score(self, cell):
        return float(cell.images.mean())


class Boastful(Brightness):
    def score(self, cell):
        return Score(float(cell.images.mean()), 10_000)


class Outside(Brightness):
    def score(self, cell):
        return Score(0.5, len(cell.seeds), low=0.6, high=0.7)


class Remembers(Brightness):
    def score(self, cell):
        self.total = getattr(self, "total", 0.0) + float(cell.images.mean())
        return Score(self.total, len(cell.seeds))


class Resamples(Brightness):
    def score(self, cell):
        return Score(float(cell.images[torch.randperm(len(cell.images))[:1]].mean()), 1)


class Normalises(Brightness):
    def score(self, cell):
        return Score(float(cell.images.add_(1).mean()), len(cell.seeds))


def test_a_right_metric_passes():
    assert failing(MetricSpec("specimen", Brightness, title="Specimen")) == {}


@pytest.mark.parametrize(
    ("specimen", "check"),
    [
        (Query, "is_a_metric"),
        (Vague, "it_scores_or_says_why_not"),
        (Bare, "it_scores_or_says_why_not"),
        (Boastful, "scores_are_consistent"),
        (Outside, "scores_are_consistent"),
        (Remembers, "same_cell_same_score"),
        (Resamples, "inputs_are_untouched"),
        (Normalises, "inputs_are_untouched"),
    ],
)
def test_what_is_wrong_in_a_metric_is_caught(specimen, check):
    assert check in failing(MetricSpec("specimen", specimen, title="Specimen"))


class Inverts(Annotator):
    """Right."""

    def annotate(self, image):
        return 255 - image


class Shrinks(Inverts):
    def annotate(self, image):
        return image[::2, ::2].copy()


class Grey(Inverts):
    def annotate(self, image):
        return image.mean(axis=2)


class Flickers(Inverts):
    calls: ClassVar[list[int]] = []

    def annotate(self, image):
        self.calls.append(1)
        return image // (1 + len(self.calls))


class Paints(Inverts):
    def annotate(self, image):
        image[0] = 0
        return image.copy()


class Returns(Inverts):
    def annotate(self, image):
        return image


def test_a_right_annotator_passes():
    assert failing(AnnotatorSpec("specimen", Inverts, title="Specimen")) == {}


@pytest.mark.parametrize(
    ("specimen", "check"),
    [
        (Query, "is_an_annotator"),
        (Shrinks, "a_map_has_the_picture_s_size"),
        (Grey, "a_map_has_the_picture_s_size"),
        (Flickers, "same_picture_same_map"),
        (Paints, "the_picture_is_untouched"),
        (Returns, "the_picture_is_untouched"),
    ],
)
def test_what_is_wrong_in_an_annotator_is_caught(specimen, check):
    assert check in failing(AnnotatorSpec("specimen", specimen, title="Specimen"))
