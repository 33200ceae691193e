"""The metrics that come with the zoo; each says what it measures, and its limits, where it is implemented."""

from __future__ import annotations

from zoo import MetricSpec, hookimpl


@hookimpl
def register_metrics():
    return [
        MetricSpec(
            "prompt_accuracy",
            "zoo.metrics.pictures:PromptAccuracy",
            title="Prompt accuracy",
            summary="Share of pictures that show the kind, colour and scene that the prompt names.",
        ),
        MetricSpec(
            "diversity",
            "zoo.metrics.pictures:Diversity",
            title="Diversity",
            summary="Mean cosine distance of features between the pictures of the prompt.",
        ),
        MetricSpec(
            "frechet",
            "zoo.metrics.pictures:Frechet",
            title="Fréchet distance",
            summary="To real pictures, in the bundled feature network; not FID.",
            paper="1706.08500",
        ),
        MetricSpec(
            "kernel",
            "zoo.metrics.pictures:Kernel",
            title="Kernel distance",
            summary="To real pictures, in the bundled feature network, unbiased; not KID.",
            paper="1801.01401",
        ),
        MetricSpec(
            "precision_recall",
            "zoo.metrics.pictures:PrecisionRecall",
            title="Precision and recall",
            summary="Share of pictures among the real ones, and of real ones among the pictures.",
            paper="1904.06991",
        ),
        MetricSpec(
            "solution_error",
            "zoo.metrics.solution:SolutionError",
            title="Distance to the solution",
            summary="RMSE to a fine-step solution of the ODE from the same noise; deterministic methods only.",
        ),
        MetricSpec(
            "exact_error",
            "zoo.metrics.exact:ExactError",
            title="Distance to the exact solution",
            summary="RMSE to the closed-form solution from the same noise; exact models and one class only.",
        ),
        MetricSpec(
            "energy_distance",
            "zoo.metrics.exact:EnergyDistance",
            title="Energy distance",
            summary="Between the samples and exact ones; exact models only.",
        ),
        MetricSpec(
            "fid",
            "zoo.metrics.pretrained:FID",
            title="FID",
            summary="Fréchet inception distance to real pictures, by torchmetrics, if its weights are here.",
            paper="1706.08500",
        ),
        MetricSpec(
            "clip_score",
            "zoo.metrics.pretrained:CLIPScore",
            title="CLIP score",
            summary="How well pictures fit the prompt according to CLIP, if its weights are here.",
            paper="2104.08718",
        ),
    ]
