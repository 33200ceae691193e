"""What a score says, and the reasons where there is none."""

from __future__ import annotations

import math

import pytest
import torch

from tests.metrics.cells import finished
from zoo import Absent, Metric, NoScore, Score
from zoo.metrics.exact import EnergyDistance, ExactError
from zoo.metrics.pictures import Diversity, Frechet, Kernel, PrecisionRecall, PromptAccuracy
from zoo.metrics.pretrained import FID, CLIPScore
from zoo.metrics.solution import SolutionError


def test_a_score_says_what_it_has():
    assert Score(0.5, 3).to_dict() == {"value": 0.5, "n": 3}
    assert str(Score(12.3456, 3, 10, 14, real=1.25, unit="%")) == "12.3% (10 to 14), real 1.25"
    assert NoScore("why").to_dict() == {"absent": "why"}
    assert NoScore("why", failed=True).to_dict() == {"failed": "why"}
    with pytest.raises(ValueError, match="value is inf"):
        Score(math.inf, 1)
    with pytest.raises(TypeError, match="Metric must define score"):
        Metric().score(None)


@pytest.mark.parametrize(
    ("metric", "cell", "reason"),
    [
        (PromptAccuracy, {"prompt": ""}, "names no kind, colour or scene"),
        (
            PromptAccuracy,
            {"model": "gaussian", "prompt": "red"},
            "knows tinyworld's pictures, not gaussian's",
        ),
        (Diversity, {"n": 1}, "needs at least 2 pictures, there are 1"),
        (Frechet, {"n": 4}, "needs at least 256 pictures, there are 4"),
        (Kernel, {"n": 4}, "needs at least 100 pictures, there are 4"),
        (PrecisionRecall, {"n": 4}, "needs at least 100 pictures, there are 4"),
        (SolutionError, {"method": "ddpm"}, "draws noise on the way"),
        (SolutionError, {"method": "ddim eta=0.5"}, "draws noise on the way"),
        (ExactError, {}, "tinyworld is not an exact model"),
        (ExactError, {"model": "gaussian"}, "no closed form: name one of dawn, noon"),
        (ExactError, {"model": "gaussian", "prompt": "dusk", "method": "ddim | cfg"}, "under conditioners"),
        (ExactError, {"model": "gaussian", "prompt": "dusk", "method": "ddpm"}, "draws noise on the way"),
        (EnergyDistance, {"model": "gaussian", "n": 19}, "needs at least 20 pictures"),
        (FID, {"n": 4}, "needs at least 2049 pictures"),
        (CLIPScore, {"prompt": " "}, "there is no prompt"),
    ],
)
def test_what_does_not_apply_says_why(metric, cell, reason):
    images = torch.zeros(cell.pop("n", 3), 3, 32, 32)
    with pytest.raises(Absent, match=reason):
        metric().score(finished(images=images, **cell))
