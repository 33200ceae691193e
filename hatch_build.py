"""What pyproject.toml cannot say: where a wheel keeps the built-in plugins, and what it depends on."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface


class BuiltinsHook(BuildHookInterface):  # type: ignore[type-arg]
    """Puts the listed files of `plugins/` into the wheel as `zoo/builtins/`, and no others."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel" or version == "editable":
            return  # an sdist keeps plugins/ as it is, and an editable install reads it in place
        root = Path(self.root)
        # Run by itself: importing zoo would need the dependencies, which a build environment lacks.
        shipped = runpy.run_path(str(root / "zoo/builtins/__init__.py"), {"__path__": []})
        for name in shipped["BUILTINS"]:
            build_data["force_include"][str(root / f"plugins/{name}.py")] = f"zoo/builtins/{name}.py"


class RequirementsHook(MetadataHookInterface):
    """Takes the dependencies from requirements.txt."""

    def update(self, metadata: dict[str, Any]) -> None:
        lines = (Path(self.root) / "requirements.txt").read_text(encoding="utf-8").splitlines()
        requirements = (line.partition("#")[0].strip() for line in lines)
        metadata["dependencies"] = [requirement for requirement in requirements if requirement]
