"""ControlNet: pictures that follow edges, segments, scribbles or a pose.

Zhang, Rao, Agrawala 2023, "Adding Conditional Control to Text-to-Image Diffusion Models", arXiv:2302.05543.
"""

from __future__ import annotations

from dataclasses import replace

from zoo import Conditioner, ConditionerSpec, Control, Field, PictureName, hookimpl


class ControlNet(Conditioner):
    """y = F(x) + scale·Z2(F_c(x + Z1(c))), c the control map, in every block F of the network's encoder.

    F_c is a trained copy of F; the convolutions Z1 and Z2 began as zero. The engine adds what the control network says
    inside whichever network is asked: the denoiser, a distilled one, a consistency network. It may stand several times
    in a method: what they add is summed.

    One evaluation of the control network a step, for all conditions together, if it does not read the prompt, as the
    bundled ones don't; else one for each. None at scale 0 and in steps outside the interval.
    """

    class Params(Conditioner.Params):
        annotator: str = Field(
            "canny",
            pattern=r"^[A-Za-z0-9_.+-]+$",
            title="Control",
            description="the control network and what makes its map: canny, scribble, segmentation, pose",
        )
        image: PictureName = Field("", title="Picture", description="cropped to the model's aspect")
        map: bool = Field(
            False, title="Is a map", description="the picture is a control map already: nothing annotates it"
        )
        scale: float = Field(1.0, ge=0, le=2, title="Control scale", description="0 = off")
        start: float = Field(
            0.0, ge=0, le=1, title="Start", description="share of the steps before control begins"
        )
        end: float = Field(1.0, ge=0, le=1, title="End", description="share of the steps after which it ends")

    params: Params

    def requires(self):
        return (f"control/{self.params.annotator}",)

    def controls(self) -> tuple[Control, ...]:
        p = self.params
        return (Control(f"control/{p.annotator}", p.image, p.map, p.scale, p.start, p.end),)

    def check(self, model, conditions):
        if self.params.start >= self.params.end:
            raise ValueError(f"start={self.params.start:g} must be below end={self.params.end:g}")

    def guide(self, query):
        return (yield replace(query, controls=query.controls + self.controls()))


@hookimpl
def register_conditioners():
    return [
        ConditionerSpec(
            "controlnet",
            ControlNet,
            title="ControlNet",
            summary="It makes pictures follow the edges, segments, scribbles or pose of a given one. A trained copy "
            "of the network’s encoder reads them, and adds what it finds to the network’s own features.",
            paper="2302.05543",
            equation=r"y = F(x) + \text{scale}\,Z_2\big(F_c(x + Z_1(c))\big)",
            cost="One evaluation of the control network a step, beside the denoiser’s; none outside its interval.",
            when="When the picture’s layout is given and words would not describe it. A scale below 1, or an early "
            "end, leaves the details to the prompt.",
        )
    ]
