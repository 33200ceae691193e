"""What the tabs beside "Compare" say, in one place, so that other languages can be set beside it."""

from __future__ import annotations

from collections.abc import Mapping

MOVES: Mapping[str, str] = {
    "tab": "See how it moves",
    "plane": "In the plane",
    "intro": (
        "Eight modes in the plane, and every answer of the network exact: what goes wrong here is the method’s doing. "
        "All methods start from the same noise. Press play, or drag from noise to data."
    ),
    "methods": "Methods, one a line",
    "methods_info": "any sampler and conditioner that can run on the mixture",
    "plain": "Plain methods draw",
    "guided": "Guided and distilled methods draw",
    "guided_info": "an exact student knows one mode",
    "whole": "all eight modes",
    "scale": "Guidance scale",
    "scale_info": "of every guided line; 1 = the mode itself, 0 = all modes, more = past the mode",
    "seeds": "Seeds",
    "seeds_info": "one point each: 7, 0..23 or 1,5,8",
    "run": "Run",
    "look": (
        "**What to look for.** *η adds noise:* `ddpm` and `ddim eta=1` wander where `ddim` glides, and end elsewhere "
        "from the same start. *Few steps cut corners:* the path of `ddim steps=5` is straight between five questions, "
        "and leaves the exact curve where that bends; follow one point to see it. *Order is not everything:* at five "
        "levels `heun` asks nine times and misses, because it places them by σ. *A consistency model jumps:* "
        "it was made to say where the path ends, and goes there at once. *Guidance:* drag its scale "
        "from 0 to 8, and watch the density that the arrows climb leave the neighbouring modes, then its own."
    ),
    "play": "▶ Play",
    "pause": "❚❚ Pause",
    "noise": "noise",
    "data": "data",
    "scrubber": "Noise level, from noise to data",
    "level": "t = {t} · α {alpha} · σ {sigma} · log-SNR {snr}",
    "clean": "clean: t = 0 is behind, σ = 0",
    "asked": "level {k} of {n}",
    "rows": "Where each method asks its network",
    "follow": "Follow",
    "everyPoint": "every point",
    "seed": "seed {seed}",
    "enlarge": "Enlarge",
    "key_path": "the method’s path",
    "key_solution": "exact solution",
    "key_score": "exact score",
    "key_x0": "predicted x̂₀",
    "error_exact": "distance to exact",
    "error_fine": "distance to exact",
    "error_exact_title": "RMSE to the closed-form solution of the ODE from the same noise",
    "error_fine_title": (
        "RMSE to the solution of the ODE from the same noise under the same guidance, "
        "in 100 second-order steps on exact answers"
    ),
    "no_error": "stochastic",
    "no_error_title": "it draws noise on the way: there is no one solution to be held against",
    "energy": "energy distance",
    "energy_title": "of the {n} points to exact samples; up to {real} is what exact samples score too",
    "energy_absent": "–",
    "alt": "{title}: the paths of {n} points from noise to data over the exact density. {facts}",
    "empty": "The paths come as soon as they are computed …",
}

BETWEEN: Mapping[str, str] = {
    "tab": "Between noises",
    "intro": (
        "A deterministic method makes one picture of one noise. On the arc between two noises lies noise again, "
        "so there is a picture at every point of it."
    ),
    "prompt": "Prompt",
    "first": "First seed",
    "last": "Last seed",
    "frames": "Frames",
    "method": "Method",
    "method_info": "a deterministic one",
    "run": "Interpolate",
    "slider": "From the first seed to the last",
    "empty": "Press Interpolate: the pictures come one beside the other.",
    "alt": "Frame {k} of {n}, between seed {first} and seed {last}: {prompt}",
    "done": "{n} frames, {nfe} NFE each.",
}

BACK: Mapping[str, str] = {
    "tab": "Back to noise",
    "intro": (
        "DDIM run upwards finds the noise that a picture comes from. Run down again, it should give the picture back; "
        "how far it misses is the error of its steps."
    ),
    "picture": "Picture",
    "drawn": "Draw one",
    "prompt": "What it shows",
    "prompt_info": "the network is asked about this; empty is unconditional",
    "steps": "DDIM steps each way",
    "iterations": "Queries a step upwards",
    "iterations_info": "1 is plain inversion; more solve each step’s implicit equation",
    "run": "Invert",
    "empty": "Choose a picture, or let one be drawn, and press Invert.",
    "figure_picture": "picture",
    "figure_noise": "its noise",
    "figure_back": "back again",
    "done": "{up} NFE up, {down} NFE down · RMSE {rmse} of pixels within ±1 · PSNR {psnr} dB",
    "noise_facts": "mean {mean}, standard deviation {std}: unit noise has 0 and 1",
}

LEARN: Mapping[str, str] = {
    "tab": "Learn",
    "methods": "Methods",
    "methods_intro": (
        "One card per method, from its plugin. A step leads from level $t$ to the next, cleaner level $s$; "
        r"$x_t = \alpha_t x_0 + \sigma_t \varepsilon$, hats are predictions, $z$ is fresh noise."
    ),
    "sampler": "sampler",
    "conditioner": "conditioner",
    "cost": "Cost",
    "when": "When",
    "paper": "Paper",
    "all_names": "all {n} names",
    "source": "Source, as it runs",
    "no_source": "Its source is imported at its first use, and is not shown before.",
    "where": "{file}, line {line}",
    "algorithms": "Algorithms",
    "algorithms_intro": (
        "The two algorithms of the DDPM paper, line by line, beside the lines of this repository that do the same; "
        "they are read from its files as they are now."
    ),
    "symbols": "Every symbol",
    "symbol": "Symbol",
    "in_code": "In the code",
    "meaning": "Meaning",
    "line": "For example",
}

FORWARD: Mapping[str, str] = {
    "tab": "Forward process",
    "intro": (
        r"How a picture becomes noise: in one draw, $x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1 - \bar\alpha_t}\,"
        r"\varepsilon$, or step by step, $x_t = \sqrt{1 - \beta_t}\,x_{t-1} + \sqrt{\beta_t}\,z_t$. The noise is not "
        "the same, its distribution is."
    ),
    "picture": "Your picture",
    "slider": "Timestep",
    "play": "▶ Play",
    "pause": "❚❚ Pause",
    "direct": "in one draw",
    "stepped": "step by step",
    "steps": "{n} steps",
    "facts": "t = {t} · ᾱ {abar} · log-SNR {snr}",
    "left": "noise left after the steps: mean {mean}, standard deviation {std}",
    "empty": "The pictures come as soon as they are computed …",
    "curves": "log-SNR against t",
    "curves_alt": (
        "Log signal-to-noise ratio of three schedules against the timestep. All fall from between 7 and 10 at t = 0; "
        "halfway linear is lowest and cosine highest, and at the end cosine falls far below the others."
    ),
    "alt": "The picture at t = {t} under the {schedule} schedule, noised {way}",
}

PLUGINS: Mapping[str, str] = {
    "tab": "Plugins",
    "name": "Plugin",
    "version": "Version",
    "source": "Source",
    "registers": "Registers",
    "state": "State",
    "import": "Import",
    "traceback": "Traceback",
    "state_loaded": "It can be used.",
    "state_disabled": "ZOO_DISABLE names it, or ZOO_PLUGINS names others only; it was not imported.",
    "state_incompatible": "It says that it is for another zoo; it was not imported.",
    "state_failed": "It raised, broke a rule of the hooks, or took the process down when it was last imported.",
    "state_collision": "Others had registered all its names before.",
    "install": "Install one",
    "install_package": "A package, into the environment that this page runs in; then start the page again",
    "install_folder": "A single .py file, in any folder",
    "install_without": "Start without one",
    "trust": "A plugin is code that runs with all rights of who starts the page: install what you trust.",
    "write": "Write one",
    "write_intro": (
        "A sampler is a generator: it asks what is behind x at a noise level, and never calls a network. Its "
        "parameters become controls on this page. This file is a whole plugin:"
    ),
    "write_try": "See it here, as mine/euler",
    "write_check": "Ask whether it is right: it is held to the exact solution",
    "write_package": "Make it a package, with tests that pass and all that PyPI asks for",
}
