"""What a check is, and how checks are run.

A check is a function of a `Subject` that returns if all is well, raises `CheckFailed` if not, and `NotApplicable`
where the subject never claimed to do what it checks.
"""

from __future__ import annotations

import inspect
import time
import traceback
import unittest
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from zoo.testing.subjects import Subject


class CheckFailed(AssertionError):
    """A check found something wrong; the message says what was expected, what came, and where to read on."""


class NotApplicable(unittest.SkipTest):
    """The subject does not claim what the check is about; pytest shows it as skipped."""


def fail(expected: str, came: str) -> NoReturn:
    """Raise `CheckFailed` with both halves of its message."""
    raise CheckFailed(f"  expected: {expected}\n  came:     {came}")


def require(fine: object, expected: str, came: str) -> None:
    """Raise `CheckFailed` unless all is well."""
    if not fine:
        fail(expected, came)


Function = Callable[[Subject], None]


@dataclass(frozen=True)
class Check:
    """A check and what it is to be run on; call it, as a test does.

    Raises:
        CheckFailed: something is wrong.
        NotApplicable: there is nothing to check.
    """

    function: Function
    subject: Subject

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def id(self) -> str:
        """`ddim eta=1.0: order_of_convergence`."""
        return f"{self.subject.label}: {self.name}"

    def __call__(self) -> None:
        from zoo.testing.worlds import usual_settings

        # A subject that leaves inference mode on, say, must not disturb the checks after it.
        with usual_settings():
            problem = self._problem()
        if problem is not None:
            raise problem

    def _problem(self) -> CheckFailed | NotApplicable | None:
        """What the check raises, if anything; whatever the subject still held open is given up by then."""
        try:
            self.function(self.subject)
        except NotApplicable as why:
            return why
        except CheckFailed as failure:
            return CheckFailed(f"{self.id}\n{failure}\n{self._read_on}")
        except (Exception, SystemExit) as error:
            came = traceback.format_exception_only(type(error), error)[-1].strip()
            text = f"  expected: {summary(self.function)}\n  came:     {came}"
            problem = CheckFailed(f"{self.id}\n{text}\n{self._read_on}")
            problem.__cause__ = error
            return problem
        return None

    @property
    def _read_on(self) -> str:
        return f"  read on:  python -m zoo check --explain {self.name}; docs/plugins/testing.md#{self.name}"


@dataclass(frozen=True)
class Outcome:
    """What came of one check.

    Attributes:
        state: "expected" is a failure that was announced, and "unexpected" an announced one that did not come.
        message: why, unless it passed.
    """

    check: Check
    state: Literal["passed", "failed", "skipped", "expected", "unexpected"]
    message: str
    seconds: float

    @property
    def fine(self) -> bool:
        return self.state in ("passed", "skipped", "expected")


GATES = (
    "implementation_loads",
    "is_a_sampler",
    "is_a_conditioner",
    "it_builds",
    "is_an_annotator",
    "is_a_metric",
)
"""Where one of these fails, the checks behind it would only fail of the same."""


def run(checks: Sequence[Check], expected_failures: Mapping[str, str] | None = None) -> Iterator[Outcome]:
    """Run checks one after the other, raising nothing; those behind a failed gate are skipped.

    Args:
        checks: what `checks_of` gave.
        expected_failures: reason by `name_of_check`, `label: name_of_check`, or `name: name_of_check`.

    Raises:
        ValueError: an expected failure names no check.
    """
    reasons = expected(checks, expected_failures or {})
    broken: tuple[Subject, str] | None = None
    for check in checks:
        if broken is not None and check.subject == broken[0]:
            yield Outcome(check, "skipped", f"{broken[1]} failed", 0.0)
            continue
        started = time.perf_counter()
        reason = reasons.get(check.id, "")
        state: Any = "passed"
        message = ""
        try:
            check()
            if reason:
                state, message = (
                    "unexpected",
                    f"was expected to fail ({reason}), but passes: no longer expect it",
                )
        except NotApplicable as why:
            state, message = "skipped", str(why)
        except CheckFailed as failure:
            state, message = ("expected", reason) if reason else ("failed", str(failure))
            if check.name in GATES:
                broken = check.subject, check.name
        yield Outcome(check, state, message, time.perf_counter() - started)


def expected(checks: Sequence[Check], failures: Mapping[str, str]) -> dict[str, str]:
    """The reason for each check that is expected to fail, by its id.

    Raises:
        ValueError: an entry has no reason, or names no check.
    """
    found = {}
    for key, reason in failures.items():
        if not reason:
            raise ValueError(f"the expected failure {key!r} needs a reason")
        hit = [c.id for c in checks if key in (c.id, c.name, f"{c.subject.spec.name}: {c.name}")]
        if not hit:
            names = ", ".join(dict.fromkeys(check.name for check in checks))
            raise ValueError(f"the expected failure {key!r} names no check; there are {names}")
        found.update(dict.fromkeys(hit, reason))
    return found


def summary(function: Function) -> str:
    """The first paragraph of a check's docstring, in one line."""
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
