"""Serving the page: `python app.py`, or `python -m zoo page`."""

from __future__ import annotations

import argparse
import gc
import os
import socket
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.ui.running import Runner

FIRST_VISIT_SECONDS = 5
"""So long the first visitor is expected; the page is drawn in two thirds of the time while nothing else is imported."""

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "0")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def serve(arguments: argparse.Namespace) -> int:
    """Build the page and serve it until interrupted; returns the exit code.

    Args:
        arguments: those of `zoo page` (zoo/commands/page.py).

    Raises:
        ValueError: the address cannot be listened on, a file of models cannot be read, a limit in the environment
            is none, or tools are to be served to those who log in; before anything is served.
    """
    from zoo.ui import login

    logins = login.from_environment()
    if arguments.mcp and logins:
        raise ValueError(
            "--mcp and ZOO_MCP go without ZOO_LOGIN: tools are called without the page's login, and so would be open "
            "to all. Leave one of them out, or put a proxy that asks for a password before a page without ZOO_LOGIN"
        )
    port = arguments.port or _free_port(arguments.host)
    _check_free(arguments.host, port)

    gc.disable()  # until all is imported, which leaves hardly any garbage: looking for it takes a fifth of the time
    from starlette.middleware import Middleware

    from zoo.registry import Registry
    from zoo.ui import gate, language, learn, page, style, tools, zerogpu
    from zoo.ui.running import Runner

    if arguments.mcp:
        if problem := tools.missing():
            raise ValueError(problem)
        tools.enable()
    if not login.is_own(arguments.host):
        # Strangers may look: errors are told without folders, and a safety checker that a model carries is kept.
        os.environ.setdefault("ZOO_HOSTED", "1")
    registry = Registry(arguments.plugins_dir, safe_mode=arguments.safe_mode, models=arguments.models)
    for plugin in registry.plugins:
        if plugin.error:
            print(f"zoo: plugin {plugin.name} is {plugin.state}: {plugin.error}", file=sys.stderr)
    lent = zerogpu.available()  # this process then has no GPU: one is lent for each comparison, to another
    if lent:
        zerogpu.place(registry)
    runner = Runner(registry, "cpu" if lent else arguments.device)
    blocks = page.build(registry, runner)
    _, url, _ = blocks.launch(
        server_name=arguments.host,
        server_port=port,
        theme=style.theme(),
        css=style.CSS,
        i18n=language.translations(partial(learn.tables, registry)),
        app_kwargs={"middleware": [*gate.MIDDLEWARE, Middleware(language.ChoosesLanguage)]},
        prevent_thread_lock=True,
        quiet=True,
        auth=logins or None,
        share=False,
        show_error=False,
        strict_cors=True,
        ssr_mode=False,
        mcp_server=arguments.mcp,
        enable_monitoring=False,
        run_history=False,  # pictures are kept by downloading them, not in the browser's storage
        max_file_size="16mb",  # of a picture
        footer_links=["api"],
        _frontend=False,  # gradio would ask itself for the page, and give up where a busy machine takes 3 seconds
    )
    print(f"The sampler zoo is at {url}", flush=True)
    if notice := login.notice(arguments.host, bool(logins)):
        print(f"zoo: {notice}", file=sys.stderr, flush=True)
    if not lent:
        threading.Thread(
            target=_warm_up, args=(runner, list(registry.models)), daemon=True, name="warm-up"
        ).start()
    blocks.block_thread()
    return 0


def _warm_up(runner: Runner, models: list[str]) -> None:
    """Import and load what the first comparison needs, while the page is looked at."""
    runner.visited.wait(FIRST_VISIT_SECONDS)
    try:
        if models:
            runner.warm_up(models[0])
    finally:
        gc.freeze()  # what there is now stays for good
        gc.enable()


def _free_port(host: str) -> int:
    with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _check_free(host: str, port: int) -> None:
    """Raise a ValueError that says why the address cannot be listened on, if so."""
    try:
        with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
            if os.name != "nt":  # where it would let a port that is in use be bound again
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(f"cannot listen on {host}:{port} ({reason}); choose another with --port") from None
    except OverflowError:
        raise ValueError(f"there is no port {port}: ports are 1 to 65535") from None
