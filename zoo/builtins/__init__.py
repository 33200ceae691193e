"""The built-ins that are shipped: the one place where the zoo names its plugins.

Their files are in `plugins/` of a checkout. A wheel carries the listed ones inside this package instead,
since it must not install a top-level package called `plugins`; `hatch_build.py` reads the list to do so.
"""

from pathlib import Path

BUILTINS: tuple[str, ...] = (
    "ddpm",
    "ddim",
    "euler",
    "heun",
    "dpmpp_2m",
    "unipc",
    "progressive_distillation",
    "consistency",
    "diffusers_schedulers",
    "classifier_free_guidance",
    "classifier_guidance",
    "controlnet",
    "metrics",
    "annotators_opencv",
    "annotators_controlnet_aux",
)
"""The shipped files of `plugins/`, in the order in which they are listed."""

MODULES: dict[str, str] = {
    "models": "zoo.models.builtin",
    **{name: f"zoo.builtins.{name}" for name in BUILTINS},
}
"""Plugin name → module, of everything that is built in."""

_HERE = Path(__file__).parent

if not (_HERE / f"{BUILTINS[0]}.py").is_file():
    __path__.append(str(_HERE.parents[1] / "plugins"))
