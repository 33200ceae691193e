"""What is made of pip-audit's answers: findings fail, an unreachable service does not."""

import importlib.util
import json
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location("audit", Path(__file__).parents[1] / "scripts" / "audit.py")
audit = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(audit)

FLAW = {"id": "PYSEC-1", "aliases": ["CVE-1", "GHSA-1"], "fix_versions": ["1.1"], "description": "…"}


def answer(*packages: dict) -> str:
    return json.dumps({"dependencies": list(packages), "fixes": []})


def package(name: str, *flaws: dict) -> dict:
    return {"name": name, "version": "1.0", "vulns": list(flaws)}


UNKNOWN = {"name": "own", "skip_reason": "Dependency not found on PyPI"}


def test_a_vulnerability_fails_and_is_told_with_what_mends_it():
    code, message = audit.verdict(
        answer(package("a"), package("b", FLAW), UNKNOWN), "Found 1 known vulnerability"
    )
    assert code == 1
    assert "b 1.0: PYSEC-1, fixed in 1.1" in message


@pytest.mark.parametrize("name", ["PYSEC-1", "GHSA-1"])
def test_an_explained_exception_passes(monkeypatch, name):
    monkeypatch.setitem(audit.IGNORED, name, "needs a feature that is not used here")
    assert audit.verdict(answer(package("b", FLAW)), "")[0] == 0


def test_what_could_not_be_looked_up_is_named():
    code, message = audit.verdict(answer(package("a"), UNKNOWN), "")
    assert (code, message) == (0, "audit: no known vulnerability in 1 packages; not known there: own")


@pytest.mark.parametrize(
    ("output", "errors"),
    [
        ("", "Traceback …\nrequests.exceptions.ConnectionError: Max retries exceeded with url: /v1/query"),
        ("", "ERROR: the read operation timed out"),
        (answer(UNKNOWN), ""),
    ],
)
def test_without_the_service_it_is_skipped_in_plain_words_unless_it_is_required(output, errors, monkeypatch):
    monkeypatch.delenv("AUDIT_REQUIRED", raising=False)
    code, message = audit.verdict(output, errors)
    assert code == 0 and message.startswith("audit: skipped, the vulnerability service")
    monkeypatch.setenv("AUDIT_REQUIRED", "1")
    code, message = audit.verdict(output, errors)
    assert code == 1 and "the vulnerability service" in message


def test_any_other_failure_is_one():
    assert audit.verdict("", "No module named pip_audit") == (
        1,
        "audit: pip-audit failed: No module named pip_audit",
    )
    assert audit.verdict("", "")[0] == audit.verdict("[]", "")[0] == 1


def test_every_exception_is_explained():
    assert all(len(why) > 20 for why in audit.IGNORED.values())
