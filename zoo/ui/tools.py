"""The page's endpoints as an assistant's tools, by the Model Context Protocol (MCP): `python app.py --mcp`."""

from __future__ import annotations

import copy
import functools
import importlib.util
import json
import logging
from collections.abc import Callable
from typing import Any

import gradio as gr
import gradio.mcp

from zoo.ui.disclosure import unexpected

log = logging.getLogger(__name__)

MISSING = (
    "--mcp and ZOO_MCP need the package mcp, which is not installed: pip install 'mcp>=1.21,<2', "
    "or pip install 'sampler-zoo[mcp]'"
)

PNG = "data:image/png;base64,"


def missing() -> str:
    """What to install first; "" if nothing."""
    return "" if importlib.util.find_spec("mcp") else MISSING


def enable() -> None:
    """Make every page that is launched with `mcp_server=True` answer as `Tools` does."""
    gradio.mcp.GradioMCPServer = Tools


class Tools(gradio.mcp.GradioMCPServer):  # type: ignore[misc]
    """Gradio's server of the public endpoints, but for its answers, and for how it asks.

    It would write answers as Python does. Here they are JSON. The sheet of a comparison comes as a picture, and the
    pictures in its cells are left out, since an assistant reads data URIs letter by letter.

    It would ask over HTTP, from this machine and with the caller's own headers. All assistants would be one person
    then, and as many as they like who make up an X-Forwarded-For, which is believed of this machine. Here a call is
    answered within the caller's own request.
    """

    def _prepare_tool_call_args(self, name: str, arguments: dict[str, Any]) -> Any:
        endpoint, values, headers, function = super()._prepare_tool_call_args(name, arguments)
        direct = copy.copy(function)
        direct.queue = False  # only what waits in gradio's queue is asked over HTTP
        direct.fn = _told(function.fn)
        return endpoint, values, headers, direct

    def postprocess_output_data(self, data: Any, root_url: str) -> list[Any]:
        """The content of a tool's answer: text, and a picture if there is one."""
        content: list[Any] = []
        for output in data:
            facts, picture = readable(output)
            text = json.dumps(facts, ensure_ascii=False)
            content.append(self.types.TextContent(type="text", text=text))
            if picture:
                content.append(self.types.ImageContent(type="image", data=picture, mimeType="image/png"))
        return content


def _told(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with errors as an assistant reads them: gradio's would be quoted, and others could name folders."""

    @functools.wraps(function)
    def told(*arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except gr.Error as error:
            raise RuntimeError(error.message) from None
        except Exception as error:
            log.exception("an assistant asked for something that failed")
            raise RuntimeError(unexpected(error)) from None

    return told


def readable(output: Any) -> tuple[Any, str]:
    """An endpoint's answer without its pictures, and the sheet as base64, "" if there is none."""
    if not isinstance(output, dict) or "sheet" not in output:
        return output, ""
    facts = {name: value for name, value in output.items() if name not in ("sheet", "cells")}
    facts["cells"] = [
        {name: value for name, value in cell.items() if name not in ("images", "maps")}
        for cell in output["cells"]
    ]
    return facts, output["sheet"].removeprefix(PNG)
