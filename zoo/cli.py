"""The command line, `python -m zoo COMMAND`; each command is a module of `zoo.commands`."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from zoo.commands import annotate, check, claims, compare, example, latents, listing, new, page, train


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 not everything is done, 2 wrong input, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a console that has no η shows \\u03b7
    arguments = _parser(argv).parse_args(argv)
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads has seen enough, as in `zoo methods | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, OSError) as error:
        print(f"zoo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("zoo: interrupted", file=sys.stderr)
        return 130
    return code


def _parser(argv: Sequence[str] | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zoo", description="Compare diffusion samplers from the same noise."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    page.add(commands)
    compare.add(commands)
    latents.add(commands)
    annotate.add(commands)
    example.add(commands)
    listing.add(commands)
    check.add(commands)
    new.add(commands)
    claims.add(commands)
    train.add(commands, sys.argv[1:] if argv is None else argv)
    return parser


if __name__ == "__main__":
    sys.exit(main())
