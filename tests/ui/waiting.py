"""Coroutines in tests that run beside others which drive a browser."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def waited_for(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns; in a thread, since Playwright keeps an event loop running in the tests' own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
