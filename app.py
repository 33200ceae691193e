"""The sampler zoo's page: `python app.py`. Also the entry of a Hugging Face Space."""

from __future__ import annotations

import argparse
import gc
import os
import socket
import sys
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.ui.running import Runner

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "0")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def main(argv: Sequence[str] | None = None) -> int:
    """Build the page and serve it until interrupted."""
    from zoo.ui import login

    arguments = _parser().parse_args(argv)
    try:
        logins = login.from_environment()
    except ValueError as error:
        print(f"app.py: {error}", file=sys.stderr)
        return 2
    arguments.port = arguments.port or _free_port(arguments.host)
    problem = _taken(arguments.host, arguments.port)
    if problem:
        print(f"app.py: {problem}", file=sys.stderr)
        return 2

    gc.disable()  # until all is imported, which leaves hardly any garbage: looking for it takes a fifth of the time
    from starlette.middleware import Middleware

    from zoo.registry import Registry
    from zoo.ui import gate, language, learn, page, style, tools, zerogpu
    from zoo.ui.running import Runner

    if arguments.mcp:
        if problem := tools.missing():
            print(f"app.py: {problem}", file=sys.stderr)
            return 2
        tools.enable()
    if not login.is_own(arguments.host):
        # Strangers may look: errors are told without folders, and a safety checker that a model carries is kept.
        os.environ.setdefault("ZOO_HOSTED", "1")
    registry = Registry(arguments.plugins_dir, safe_mode=arguments.safe_mode, models=arguments.models)
    for plugin in registry.plugins:
        if plugin.error:
            print(f"app.py: plugin {plugin.name} is {plugin.state}: {plugin.error}", file=sys.stderr)
    lent = zerogpu.available()  # this process then has no GPU: one is lent for each comparison, to another
    if lent:
        zerogpu.place(registry)
    try:
        runner = Runner(registry, "cpu" if lent else arguments.device)
        blocks = page.build(registry, runner)
    except ValueError as error:  # a limit in the environment that is none
        print(f"app.py: {error}", file=sys.stderr)
        return 2
    _, url, _ = blocks.launch(
        server_name=arguments.host,
        server_port=arguments.port,
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
        print(f"app.py: {notice}", file=sys.stderr, flush=True)
    if not lent:
        threading.Thread(
            target=_warm_up, args=(runner, list(registry.models)), daemon=True, name="warm-up"
        ).start()
    blocks.block_thread()
    return 0


def _warm_up(runner: Runner, models: list[str]) -> None:
    """Import and load what the first comparison needs, while the page is looked at."""
    try:
        if models:
            runner.warm_up(models[0])
    finally:
        gc.freeze()  # what there is now stays for good
        gc.enable()


def _parser() -> argparse.ArgumentParser:
    # A Space must be reached from outside (hence S104); otherwise the page is this machine's own.
    everywhere = "0.0.0.0"  # noqa: S104
    host = os.environ.get("GRADIO_SERVER_NAME") or (everywhere if "SPACE_ID" in os.environ else "127.0.0.1")
    port = int(os.environ.get("GRADIO_SERVER_PORT", "7860"))
    parser = argparse.ArgumentParser(description="Serve the sampler zoo's page.")
    parser.add_argument("--host", default=host, help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", default=port, type=int, help="port to listen on, 0 for any free one (default: %(default)s)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument(
        "--plugins-dir", metavar="DIR", help="load the .py files in this folder as plugins too"
    )
    beside = Path(__file__).with_name("models.toml")
    parser.add_argument(
        "--models",
        metavar="FILE",
        default=os.environ.get("ZOO_MODELS") or (beside if beside.is_file() else None),
        help="offer the models of this file too (default: ZOO_MODELS, or models.toml here)",
    )
    parser.add_argument(
        "--mcp",
        action="store_true",
        default=os.environ.get("ZOO_MCP", "") not in ("", "0"),
        help="serve the API as tools for assistants too (default: ZOO_MCP=1)",
    )
    parser.add_argument("--safe-mode", action="store_true", help="built-in plugins only")
    return parser


def _free_port(host: str) -> int:
    with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _taken(host: str, port: int) -> str:
    """Why the address cannot be listened on; "" if it can."""
    try:
        with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
            if os.name != "nt":  # where it would let a port that is in use be bound again
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return f"cannot listen on {host}:{port} ({error.strerror or error}); choose another with --port"
    except OverflowError:
        return f"there is no port {port}: ports are 1 to 65535"
    return ""


if __name__ == "__main__":
    sys.exit(main())
