"""The two algorithms of the DDPM paper, each line beside the lines of this repository that do the same.

Ho, Jain, Abbeel 2020, "Denoising Diffusion Probabilistic Models", arXiv:2006.11239, algorithms 1 and 2; DDIM's step
beside the second: Song, Meng, Ermon 2021, arXiv:2010.02502, equation 12.
"""

from __future__ import annotations

from dataclasses import dataclass

from zoo.lessons.source import Excerpt, line

_TRAIN = "zoo.training.denoiser:train"
_LOSS = "zoo.training.denoiser:train.loss"
_DRAW = "zoo.training.denoiser:draw"
_FIT = "zoo.training.loop:fit"
_DDPM = "zoo.builtins.ddpm:DDPM.sample"
_DDIM = "zoo.builtins.ddim:DDIM.sample"


@dataclass(frozen=True)
class Step:
    """A line of an algorithm.

    Attributes:
        says: the line, with LaTeX between $ signs.
        code: the lines of source that do it, as (address, beginning of the line); see `zoo.lessons.source.line`.
        note: names what is said of where the two differ, `lessons.note_…` in `zoo/ui/words`; "" if nothing is.
        depth: how far it is indented.
    """

    says: str
    code: tuple[tuple[str, str], ...] = ()
    note: str = ""
    depth: int = 0

    def source(self) -> list[Excerpt]:
        """The lines of source; raises `LookupError` when one is no longer there."""
        return [line(address, beginning) for address, beginning in self.code]


@dataclass(frozen=True)
class Algorithm:
    """An algorithm of a paper, line by line.

    Attributes:
        name: names its title, `lessons.…` in `zoo/ui/words`.
    """

    name: str
    paper: str
    steps: tuple[Step, ...]


TRAINING = Algorithm(
    "training",
    "2006.11239",
    (
        Step("repeat", ((_FIT, "for step, batch in"),)),
        Step(
            r"$x_0 \sim q(x_0)$",
            ((_LOSS, "x0, captions = batch"),),
            "batch",
            1,
        ),
        Step(
            r"$t \sim \mathrm{Uniform}(\{1, \dots, T\})$",
            ((_DRAW, "offsets ="), (_DRAW, "t = ")),
            "timestep",
            1,
        ),
        Step(r"$\varepsilon \sim \mathcal N(0, I)$", ((_DRAW, "noise ="),), "", 1),
        Step(
            r"$x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1 - \bar\alpha_t}\,\varepsilon$",
            (
                (_LOSS, "a = alphas_cumprod"),
                (_LOSS, "alpha, sigma ="),
                (_LOSS, "x_t ="),
            ),
            "inside",
            1,
        ),
        Step(
            r"take a gradient step on $\nabla_\theta \lVert \varepsilon - \varepsilon_\theta(x_t, t) \rVert^2$",
            (
                (_LOSS, "v = network"),
                (_LOSS, "error: torch.Tensor"),
                (_LOSS, "return error.square"),
                (_FIT, "accelerator.backward"),
                (_FIT, "optimizer.step"),
            ),
            "prediction",
            1,
        ),
        Step(
            "until converged",
            ((_FIT, "end = min"),),
            "converged",
        ),
    ),
)

SAMPLING = Algorithm(
    "sampling",
    "2006.11239",
    (
        Step(
            r"$x_T \sim \mathcal N(0, I)$",
            (("zoo.noise:unit_noise", "generator ="), ("zoo.noise:unit_noise", "return generator")),
            "seed",
        ),
        Step(
            r"for $t = T, \dots, 1$ do",
            ((_DDPM, "for t, s in levels.pairs"),),
            "levels",
        ),
        Step(
            r"$z \sim \mathcal N(0, I)$ if $t > 1$, else $z = 0$",
            ((_DDPM, "if not s.is_clean"),),
            "clean_level",
            1,
        ),
        Step(
            r"$x_{t-1} = \frac{1}{\sqrt{\alpha_t}} \Big( x_t - \frac{1 - \alpha_t}{\sqrt{1 - \bar\alpha_t}}\,"
            r"\varepsilon_\theta(x_t, t) \Big) + \sigma_t z$",
            (
                (_DDPM, "prediction = yield"),
                (_DDPM, "step = "),
                (_DDPM, "beta ="),
                (_DDPM, "x0 ="),
                (_DDPM, "x = (s.alpha"),
                (_DDPM, "variance = beta"),
                (_DDPM, "x = x +"),
            ),
            "mean",
            1,
        ),
        Step("end for"),
        Step(r"return $x_0$", ((_DDPM, "return x"),)),
    ),
)

IMPLICIT = Algorithm(
    "implicit",
    "2010.02502",
    (
        Step(
            r"$\sigma_t = \eta\,\sqrt{\frac{1 - \bar\alpha_s}{1 - \bar\alpha_t}}\,"
            r"\sqrt{1 - \frac{\bar\alpha_t}{\bar\alpha_s}}$",
            ((_DDIM, "ratio ="), (_DDIM, "sigma = self")),
            "alpha",
        ),
        Step(
            r"$x_s = \sqrt{\bar\alpha_s}\,\hat x_0 + \sqrt{1 - \bar\alpha_s - \sigma_t^2}\,\hat\varepsilon"
            r" + \sigma_t z$",
            ((_DDIM, "x = s.alpha"), (_DDIM, "x = x + sigma")),
            "eta",
        ),
    ),
)

ALGORITHMS = (TRAINING, SAMPLING, IMPLICIT)


@dataclass(frozen=True)
class Symbol:
    """A symbol of the papers, and what it is called here.

    Attributes:
        latex: the symbol, or several, and after an equals sign what it is short for.
        name: what it is called in the code.
        meaning: names what is said of it, `lessons.means_…` in `zoo/ui/words`.
        code: as in `Step`.
    """

    latex: str
    name: str
    meaning: str
    code: tuple[str, str]

    def source(self) -> Excerpt:
        """A line where it is defined or used; raises `LookupError` when that is no longer there."""
        return line(*self.code)


SYMBOLS = (
    Symbol("q(x_0)", "pictures", "data", (_TRAIN, "pictures = ")),
    Symbol(r"x_0,\ x_t,\ x_T", "x0, x_t, x", "states", (_LOSS, "x_t =")),
    Symbol(r"t,\ s,\ T", "t, s, schedule.timesteps", "steps", (_DDPM, "for t, s in levels.pairs")),
    Symbol(
        r"\beta_t",
        "betas",
        "betas",
        ("zoo.schedule:DiscreteSchedule.linear", "return"),
    ),
    Symbol(r"\alpha_t = 1 - \beta_t", "step ** 2", "alpha", (_DDPM, "step = ")),
    Symbol(
        r"\bar\alpha_t = \alpha_1 \cdots \alpha_t",
        "alphas_cumprod",
        "alphas",
        ("zoo.schedule:DiscreteSchedule.from_betas", "return"),
    ),
    Symbol(
        r"\sqrt{\bar\alpha_t},\ \sqrt{1 - \bar\alpha_t}",
        "level.alpha, level.sigma",
        "level",
        ("zoo.schedule:DiscreteSchedule.level", "return Level"),
    ),
    Symbol(
        r"\log \tfrac{\bar\alpha_t}{1 - \bar\alpha_t}",
        "level.log_snr",
        "log_snr",
        ("zoo.schedule:Level.log_snr", "return 2"),
    ),
    Symbol(r"\mathcal N(0, I)", "standard_normal", "normal", ("zoo.noise:unit_noise", "return generator")),
    Symbol(r"\varepsilon", "noise", "epsilon", (_DRAW, "noise =")),
    Symbol(
        r"\varepsilon_\theta(x_t, t),\ \hat\varepsilon",
        "(yield Query(x, t)).eps",
        "eps",
        (_DDPM, "prediction = yield"),
    ),
    Symbol(r"\theta,\ \nabla_\theta", "network.parameters()", "theta", (_TRAIN, "optimizer =")),
    Symbol(
        r"\hat x_0",
        "prediction.x0",
        "x0",
        ("zoo.answers:reply", "x0 = to_x0"),
    ),
    Symbol(
        r"\tilde\beta_t,\ \sigma_t^2",
        "variance",
        "variance",
        (_DDPM, "variance = beta"),
    ),
    Symbol("z", "noise()", "noise", ("zoo.noise:KeyedNoise.__call__", "arrays =")),
    Symbol(r"\eta", "eta", "eta", (_DDIM, "sigma = self")),
)
