"""Class names as prompts."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches


class Labels:
    """The classes that a network is conditioned on: names where they are known, numbers in any case.

    Args:
        count: classes are 0 … count − 1.
        names: number → its names, separated by commas, as in a pipeline's `id2label`.
    """

    def __init__(self, count: int, names: Mapping[str, str] | None = None) -> None:
        self.count = count
        self.numbers = {
            name.strip().lower(): int(number)
            for number, listed in (names or {}).items()
            for name in str(listed).split(",")
            if name.strip() and int(number) < count
        }

    def find(self, text: str) -> int:
        """The class of a name or a number.

        Raises:
            ValueError: there is none; names what is near.
        """
        wanted = text.strip().lower()
        if wanted in self.numbers:
            return self.numbers[wanted]
        if wanted.isdecimal() and int(wanted) < self.count:
            return int(wanted)
        raise ValueError(f"there is no class {text.strip()!r}: {self.hint(wanted)}")

    def hint(self, wanted: str = "") -> str:
        """What a prompt may be."""
        numbers = f"a number from 0 to {self.count - 1}"
        if not self.numbers:
            return f"the prompt is {numbers}"
        near = get_close_matches(wanted, self.numbers, n=3, cutoff=0.5)
        near = near or [name for name in self.numbers if wanted and wanted in name][:3]
        near = near or [name for name in self.numbers if set(wanted.split()) & set(name.split())][:3]
        shown = near or list(self.numbers)[:3]
        begin = "did you mean" if near else "the prompt is a class, such as"
        return f"{begin} {', '.join(map(repr, shown))}{'?' if near else ''} ({numbers} will do too)"

    def examples(self) -> list[str]:
        """A few prompts."""
        return list(self.numbers)[:: max(1, len(self.numbers) // 4)][:4] or ["0", str(self.count - 1)]
