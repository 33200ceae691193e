"""Whether any installed package has a published vulnerability, by pip-audit: `python scripts/audit.py`.

Ends with 1 if one has. Where the service that knows cannot be reached, it says so and ends with 0: a test run without
the internet is no worse than before. With AUDIT_REQUIRED=1 that is an error too.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

IGNORED: dict[str, str] = {}
"""Vulnerability → why it does not matter here; every exception is explained, and goes when its reason goes."""

SECONDS = 300

_UNREACHABLE = re.compile(
    r"ConnectionError|NameResolution|Max retries|Temporary failure|[Tt]imed out|Timeout|HTTPError|ServiceError"
)


def verdict(output: str, errors: str) -> tuple[int, str]:
    """The exit code, and what to say.

    Args:
        output: of pip-audit, JSON if it came so far.
        errors: what it said besides.
    """
    try:
        found = json.loads(output)["dependencies"]
    except (ValueError, LookupError, TypeError):
        last = (errors.strip().splitlines() or ["it said nothing"])[-1]
        if _UNREACHABLE.search(errors):
            return _skipped(f"the vulnerability service cannot be reached ({last})")
        return 1, f"audit: pip-audit failed: {last}"
    audited = [package for package in found if "skip_reason" not in package]
    problems = [line for package in audited for line in _problems(package)]
    if problems:
        return 1, "\n".join(["audit: installed packages have published vulnerabilities:", *problems])
    if not audited:
        return _skipped("the vulnerability service knows none of the installed packages: is it a mirror?")
    unknown = [package["name"] for package in found if "skip_reason" in package]
    besides = f"; not known there: {', '.join(unknown)}" if unknown else ""
    return 0, f"audit: no known vulnerability in {len(audited)} packages{besides}"


def _skipped(why: str) -> tuple[int, str]:
    """The exit code where nobody could be asked, and what to say."""
    if os.environ.get("AUDIT_REQUIRED", "") not in ("", "0"):
        return 1, f"audit: not done, though AUDIT_REQUIRED asks for it: {why}"
    return 0, f"audit: skipped, {why}"


def _problems(package: dict[str, Any]) -> list[str]:
    """A line for each vulnerability that is not excused."""
    lines = []
    for one in package["vulns"]:
        if not {one["id"], *one.get("aliases", [])} & set(IGNORED):
            fixed = ", ".join(one.get("fix_versions", [])) or "no version yet"
            lines.append(f"  {package['name']} {package['version']}: {one['id']}, fixed in {fixed}")
    return lines


def main() -> int:
    """Ask, tell, and return the exit code."""
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--format",
        "json",
        "--progress-spinner",
        "off",
        "--skip-editable",
    ]
    try:
        # S603: the command is written above, and holds nothing that anybody sent.
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        code, message = verdict(done.stdout, done.stderr)
    except subprocess.TimeoutExpired:
        code, message = _skipped(f"the vulnerability service did not answer within {SECONDS} s")
    print(message)
    return code


if __name__ == "__main__":
    sys.exit(main())
