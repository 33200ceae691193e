"""`zoo page`: the page in the browser."""

from __future__ import annotations

import argparse
import os
from typing import Any


def add(commands: Any) -> None:
    """Add the command to the command line."""
    page = commands.add_parser("page", help="serve the page", description="Serve the sampler zoo's page.")
    # A Space must be reached from outside (hence S104); otherwise the page is this machine's own.
    everywhere = "0.0.0.0"  # noqa: S104
    host = os.environ.get("GRADIO_SERVER_NAME") or (everywhere if "SPACE_ID" in os.environ else "127.0.0.1")
    page.add_argument("--host", default=host, help="address to listen on (default: %(default)s)")
    page.add_argument(
        "--port",
        default=os.environ.get("GRADIO_SERVER_PORT", "7860"),
        type=int,
        help="port to listen on, 0 for any free one (default: %(default)s)",
    )
    page.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    page.add_argument("--plugins-dir", metavar="DIR", help="load the .py files in this folder as plugins too")
    page.add_argument(
        "--models",
        metavar="FILE",
        help="a models.toml, whose models are offered too (default: ZOO_MODELS; of app.py the one beside it)",
    )
    page.add_argument(
        "--mcp",
        action="store_true",
        default=os.environ.get("ZOO_MCP", "") not in ("", "0"),
        help="serve the API as tools for assistants too (default: ZOO_MCP=1)",
    )
    page.add_argument("--safe-mode", action="store_true", help="built-in plugins only")
    page.set_defaults(run=_page)


def _page(arguments: argparse.Namespace) -> int:
    from zoo.ui.server import serve

    return serve(arguments)
