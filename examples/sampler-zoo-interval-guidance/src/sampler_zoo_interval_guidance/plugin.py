"""What the zoo is told. Importing this loads nothing heavy: the implementation is imported at first use."""

from __future__ import annotations

from zoo import ConditionerSpec, hookimpl


@hookimpl
def register_conditioners():
    return [
        ConditionerSpec(
            "interval",
            "sampler_zoo_interval_guidance.interval:IntervalGuidance",
            title="Interval guidance",
            summary="Classifier-free guidance at the middle noise levels only: cheaper, and less is lost in variety.",
            paper="2404.07724",
        )
    ]
