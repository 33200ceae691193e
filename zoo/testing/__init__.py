"""The conformance kit: what a plugin must do to be trusted, as checks that its own tests run.

    import my_package
    from zoo.testing import parametrize_with_checks

    @parametrize_with_checks(my_package)
    def test_conformance(check):
        check()

Checks are chosen by what the plugin declares, and each says what was expected, what came, and where to read on. Our
own built-ins are held to them first. pytest is needed for `parametrize_with_checks` only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zoo.testing import annotators, conditioners, metrics, models, samplers
from zoo.testing.checks import (
    Check,
    CheckFailed,
    Function,
    NotApplicable,
    Outcome,
    expected,
    run,
    summary,
)
from zoo.testing.subjects import Subject, subjects_of

__all__ = [
    "CHECKS",
    "Check",
    "CheckFailed",
    "NotApplicable",
    "Outcome",
    "Subject",
    "check_annotator",
    "check_conditioner",
    "check_metric",
    "check_model",
    "check_sampler",
    "checks_of",
    "parametrize_with_checks",
    "run",
    "summary",
]

CHECKS: dict[str, tuple[Function, ...]] = {
    "sampler": samplers.CHECKS,
    "conditioner": conditioners.CHECKS,
    "model": models.CHECKS,
    "annotator": annotators.CHECKS,
    "metric": metrics.CHECKS,
}
"""The checks of each kind of contribution, in the order in which they are run."""

Settings = Mapping[str, Sequence[Mapping[str, Any]]]


def checks_of(target: Any, settings: Settings | None = None) -> list[Check]:
    """Every check of every contribution in a target.

    Args:
        target: a plugin's module, a spec, the class of a sampler, conditioner or metric, or a list of these.
        settings: parameters to check besides the defaults, by the contribution's name, such as
            `{"ddim": [{"eta": 1.0}]}`.

    Raises:
        TypeError, ValueError: there is nothing to check in the target, or a setting is for nothing in it.
    """
    return [
        Check(function, subject)
        for subject in subjects_of(target, settings)
        for function in CHECKS.get(subject.spec.kind, ())
    ]


def parametrize_with_checks(
    target: Any,
    settings: Settings | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> Callable[[Any], Any]:
    """A decorator that turns `def test(check): check()` into one test per check.

    Args:
        target, settings: as of `checks_of`.
        expected_failures: the reason for each check that is known to fail, by its name, or `name: check`, or
            `name param=value: check`. Such a check must fail: when it passes, the test says so.
    """
    import pytest

    checks = checks_of(target, settings)
    reasons = expected(checks, expected_failures or {})
    cases = []
    for check in checks:
        reason = reasons.get(check.id)
        marks = [pytest.mark.xfail(reason=reason, raises=CheckFailed, strict=True)] if reason else []
        cases.append(pytest.param(check, id=check.id, marks=marks))
    return pytest.mark.parametrize("check", cases)


def check_sampler(
    target: Any, expected_failures: Mapping[str, str] | None = None, **params: Any
) -> list[Outcome]:
    """Check a sampler (its spec, class, or plugin) with these parameters; raises `CheckFailed` with all failures."""
    return _check("sampler", target, expected_failures, params)


def check_conditioner(
    target: Any, expected_failures: Mapping[str, str] | None = None, **params: Any
) -> list[Outcome]:
    """Check a conditioner (its spec, class, or plugin); raises `CheckFailed` with all failures."""
    return _check("conditioner", target, expected_failures, params)


def check_model(target: Any, expected_failures: Mapping[str, str] | None = None) -> list[Outcome]:
    """Check a model (its spec, or plugin); raises `CheckFailed` with all failures."""
    return _check("model", target, expected_failures, {})


def check_annotator(
    target: Any, expected_failures: Mapping[str, str] | None = None, **params: Any
) -> list[Outcome]:
    """Check an annotator (its spec, class, or plugin); raises `CheckFailed` with all failures."""
    return _check("annotator", target, expected_failures, params)


def check_metric(
    target: Any, expected_failures: Mapping[str, str] | None = None, **params: Any
) -> list[Outcome]:
    """Check a metric (its spec, class, or plugin); raises `CheckFailed` with all failures."""
    return _check("metric", target, expected_failures, params)


def _check(
    kind: str, target: Any, expected_failures: Mapping[str, str] | None, params: Mapping[str, Any]
) -> list[Outcome]:
    subjects = [subject for subject in subjects_of(target) if subject.spec.kind == kind]
    if not subjects:
        raise ValueError(f"{target!r} has no {kind}")
    subjects = [Subject(s.spec, params, s.module) for s in subjects]
    checks = [Check(function, subject) for subject in subjects for function in CHECKS[kind]]
    outcomes = list(run(checks, expected_failures))
    problems = [outcome.message for outcome in outcomes if not outcome.fine]
    if problems:
        raise CheckFailed("\n\n".join(problems))
    return outcomes
