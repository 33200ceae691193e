"""What papers found about samplers: the claims that `zoo claims` measures, and the curves that it draws."""

from __future__ import annotations

from collections.abc import Mapping

from zoo.claims.claims import Claim, ascending, least, less
from zoo.claims.control import EDGES


def guided(scale: float, steps: int = 20) -> str:
    """DDIM with classifier-free guidance; without it at scale 1, without the caption at scale 0."""
    return f"ddim steps={steps}" if scale == 1 else f"ddim steps={steps} | cfg scale={scale:g}"


def by_classifier(scale: float, steps: int) -> str:
    """DDIM that is not told the caption, guided by a classifier to the kind that the caption names."""
    return f"{guided(0, steps)} | classifier_guidance scale={scale:g}"


def distilled(steps: int) -> str:
    """A progressive student."""
    return f"progressive_distillation steps={steps}"


def consistent(steps: int, recipe: str) -> str:
    """A consistency network."""
    return f"consistency steps={steps} recipe={recipe}"


TEACHER = "ddim steps=64"
RECIPES = ("distillation", "training", "tuning")
"""The ways to a consistency network: distilled from the teacher, from scratch, tuned from the teacher's weights."""

SOLVERS: Mapping[str, str] = {
    "DPM-Solver++(2M)": "dpmpp_2m steps={n}",
    "UniPC": "unipc steps={n}",
    "Heun": "heun steps={half}",
}

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "At 5 and 10 steps DDIM is better with η = 0 than with η = 1, where the network is exact",
        "must",
        tuple(less(f"ddim steps={n}", f"ddim steps={n} eta=1", "energy on gaussian") for n in (5, 10)),
        quick=True,
    ),
    Claim(
        "At 5 and 10 steps DDIM is better with η = 0 than with η = 1, on our own pictures",
        "must",
        tuple(less(f"ddim steps={n}", f"ddim steps={n} eta=1") for n in (5, 10)),
    ),
    Claim(
        "At 4 steps progressive distillation is far better than DDIM: less than half its distance",
        "must",
        (less(distilled(4), "ddim steps=4", factor=0.5),),
        quick=True,
    ),
    Claim(
        "Progressive distillation is worse at 1 step than at 4",
        "must",
        (less(distilled(4), distilled(1)),),
        quick=True,
    ),
    Claim(
        "Consistency networks are better in 2 steps than in 1",
        "must",
        tuple(less(consistent(2, recipe), consistent(1, recipe)) for recipe in RECIPES),
        quick=True,
    ),
    Claim(
        "A consistency network tuned from the teacher is better than one trained from scratch",
        "must",
        tuple(less(consistent(n, "tuning"), consistent(n, "training")) for n in (1, 2)),
        quick=True,
    ),
    Claim(
        "More classifier-free guidance, from none of the caption to all of it: prompt accuracy up",
        "must",
        ascending([guided(s, 4) for s in (0, 0.5, 1)], "accuracy"),
        quick=True,
    ),
    Claim(
        "More classifier-free guidance, from none of the caption to all of it: diversity within a prompt down",
        "must",
        ascending([guided(s, 4) for s in (1, 0.5, 0)], "diversity"),
        quick=True,
    ),
    Claim(
        "Classifier-free guidance past 1: prompt accuracy further up, at 2 steps, which leave it room",
        "must",
        ascending([guided(1, 2), guided(3, 2)], "accuracy"),
    ),
    Claim(
        "Classifier-free guidance past 1: diversity within a prompt further down",
        "must",
        ascending([guided(s) for s in (8, 3, 1)], "diversity"),
    ),
    Claim(
        "Classifier guidance raises prompt accuracy, where the denoiser is not told the caption",
        "must",
        ascending([guided(0, 4), by_classifier(4, 4)], "accuracy"),
        quick=True,
    ),
    Claim(
        "With a ControlNet the edges of a picture are met far more often than without: half of the misses at most",
        "must",
        (less(f"{guided(1)} | controlnet annotator=canny", guided(1), EDGES, factor=0.5),),
        quick=True,
    ),
    Claim(
        "At 10 steps the distance grows with η",
        "soft",
        ascending(
            ["ddim steps=10", *(f"ddim steps=10 eta={eta:g}" for eta in (0.25, 0.5, 0.75, 1))], "distance"
        ),
    ),
    Claim(
        "At 10, 20 and 50 steps DDPM with the large variance is worse than with the small one, and than DDIM",
        "soft",
        tuple(
            less(better, f"ddpm steps={n} variance=large")
            for n in (10, 20, 50)
            for better in (f"ddpm steps={n}", f"ddim steps={n}")
        ),
    ),
    Claim(
        "At 1000 steps DDPM with the large variance is at most 1.1 times as far as DDIM with 100 steps",
        "soft",
        (less("ddpm steps=1000 variance=large", "ddim steps=100", factor=1.1),),
    ),
    *(
        Claim(
            f"At 20 and 50 evaluations {title} is nearer to the exact solution than DDIM, where the network is exact",
            "soft",
            tuple(
                less(line.format(n=n, half=n // 2), f"ddim steps={n}", "error on gaussian") for n in (20, 50)
            ),
            quick=True,
        )
        for title, line in SOLVERS.items()
    ),
    *(
        Claim(
            f"At 20 and 50 evaluations {title} is better than DDIM, on our own pictures",
            "soft",
            tuple(less(line.format(n=n, half=n // 2), f"ddim steps={n}") for n in (20, 50)),
        )
        for title, line in SOLVERS.items()
    ),
    *(
        Claim(
            f"Progressive distillation at {n} step{'s' if n > 1 else ''} is at most {factor:g} times as far as its "
            "teacher's DDIM at 64",
            "soft",
            (less(distilled(n), TEACHER, factor=factor),),
        )
        for n, factor in ((4, 1.5), (2, 3.0), (1, 6.0))
    ),
    *(
        Claim(
            f"The best consistency network at {n} step{'s' if n > 1 else ''} is at most {factor:g} times as far as "
            "the teacher's DDIM at 64",
            "soft",
            (
                least(
                    [consistent(n, recipe) for recipe in RECIPES],
                    TEACHER,
                    f"{factor:g} × {TEACHER} minus the least of {', '.join(RECIPES)} at {n} (distance)",
                    factor=factor,
                ),
            ),
        )
        for n, factor in ((2, 2.0), (1, 4.0))
    ),
    Claim(
        "At 1 step consistency distillation is better than progressive distillation",
        "soft",
        (less(consistent(1, "distillation"), distilled(1)),),
    ),
    Claim(
        "Consistency distillation is better than consistency training",
        "soft",
        tuple(less(consistent(n, "distillation"), consistent(n, "training")) for n in (1, 2)),
    ),
    Claim(
        "The distance is U-shaped in the guidance scale: falls from 1 to its least, rises to 8",
        "soft",
        tuple(
            least(
                [guided(s) for s in (1.5, 2, 3, 5)],
                guided(end),
                f"ddim steps=20 at scale {end} minus the least of 1.5, 2, 3, 5 (distance)",
            )
            for end in (1, 8)
        ),
    ),
)

CURVES: Mapping[str, tuple[str, ...]] = {
    "DDIM": tuple(f"ddim steps={n}" for n in (1, 2, 4, 5, 8, 10, 20, 50, 64, 100)),
    "DDPM, small variance": tuple(f"ddpm steps={n}" for n in (10, 20, 50, 100, 1000)),
    "DDPM, large variance": tuple(f"ddpm steps={n} variance=large" for n in (10, 20, 50, 1000)),
    "Heun": tuple(f"heun steps={n}" for n in (3, 5, 10, 25)),
    "DPM-Solver++(2M)": tuple(f"dpmpp_2m steps={n}" for n in (5, 10, 20, 50)),
    "UniPC": tuple(f"unipc steps={n}" for n in (5, 10, 20, 50)),
    "Progressive distillation": tuple(distilled(n) for n in (1, 2, 4, 8)),
    **{f"Consistency {recipe}": tuple(consistent(n, recipe) for n in (1, 2, 4)) for recipe in RECIPES},
}
"""One line a method in the plots of quality against cost."""
