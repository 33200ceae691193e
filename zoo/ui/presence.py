"""Whether whoever called is still there, so that nothing is computed for nobody."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import Any

import gradio as gr
from anyio import from_thread


def watch(request: Any, blocks: gr.Blocks) -> Callable[[], bool]:
    """Tells whether nobody waits for the answer to a request any more; to be asked in the thread that answers it.

    What was asked over HTTP waits in gradio's queue, and its request has ended before it begins: the answer goes
    through another one, and gradio marks what was asked when that is closed. An assistant's call is answered in its
    own.

    Args:
        request: gradio's or starlette's; None for a call from within this process.
        blocks: the page.
    """
    if isinstance(request, gr.Request):
        for events in blocks._queue.active_jobs:
            for event in events or ():
                if event.request is request.request:
                    return lambda: not event.alive
        return lambda: False
    if request is None:
        return lambda: False

    def gone() -> bool:
        try:
            return bool(from_thread.run(request.is_disconnected))
        except (
            asyncio.CancelledError,
            concurrent.futures.CancelledError,
        ):  # whoever awaits this has been told
            return True

    return gone
