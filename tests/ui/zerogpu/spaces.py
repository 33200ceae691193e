"""A stand-in for the hub's package of this name, for tests: `GPU` runs a generator in a forked process.

As there: arguments and what is yielded are pickled; the process is used again; the work is done in a thread of it; of
an exception the name of its class arrives, of a returned value nothing; closing takes effect at the next yield; a
process that dies is "aborted"; the seconds are on the account of whoever the request in the context is from; outside
the main thread torch says that there is CUDA, and there is none.
Stricter than there: a tensor that crosses is an error, since the hub sends a handle that dies with the process.
Every call is noted in the file FAKE_SPACES_LOG, a line of JSON each.
"""

from __future__ import annotations

import functools
import io
import json
import multiprocessing
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import torch

FORK = multiprocessing.get_context("fork")
_cuda = torch.cuda.is_available
torch.cuda.is_available = lambda: threading.current_thread() is not threading.main_thread()


class Strict(pickle.Pickler):
    def reducer_override(self, value):
        if isinstance(value, (torch.Tensor, torch.nn.Module, torch.device)):
            raise pickle.PicklingError(f"a {type(value).__name__} must not cross")
        return NotImplemented


def dumps(value) -> bytes:
    buffer = io.BytesIO()
    Strict(buffer).dump(value)
    return buffer.getvalue()


class Worker:
    def __init__(self, task):
        self.here, there = FORK.Pipe()
        self.stop = FORK.Event()
        self.process = FORK.Process(target=self.serve, args=(task, there), daemon=True)
        self.process.start()
        there.close()

    def serve(self, task, pipe):
        self.here.close()
        torch.cuda.is_available = _cuda
        while True:
            arguments = pickle.loads(pipe.recv_bytes())
            self.stop.clear()
            with ThreadPoolExecutor(1) as thread:
                thread.submit(self.iterate, task, arguments, pipe).result()
            pipe.send_bytes(dumps(("end", None)))

    def iterate(self, task, arguments, pipe):
        made = task(*arguments)
        try:
            for value in made:
                if self.stop.is_set():
                    break
                pipe.send_bytes(dumps(("value", value)))
        except Exception as error:
            pipe.send_bytes(dumps(("error", type(error).__name__)))
        finally:
            made.close()


def GPU(task=None, *, duration=None):
    if task is None:
        return functools.partial(GPU, duration=duration)
    kept: list[Worker] = []

    @functools.wraps(task)
    def lent(*arguments):
        import gradio as gr

        note(duration(*arguments))
        worker = kept.pop() if kept else Worker(task)
        worker.here.send_bytes(dumps(arguments))
        try:
            while True:
                kind, value = pickle.loads(worker.here.recv_bytes())
                if kind == "end":
                    kept.append(worker)
                    return
                if kind == "error":
                    raise gr.Error(value, title="ZeroGPU worker error")
                yield value
        except EOFError:
            raise gr.Error("GPU task aborted", title="ZeroGPU worker error") from None
        except GeneratorExit:
            worker.stop.set()
            while pickle.loads(worker.here.recv_bytes())[0] == "value":
                pass
            kept.append(worker)
            raise

    lent.zerogpu = None
    return lent


def gradio_auto_wrap(task):
    """Asked for by gradio, of any function."""
    return task


def note(seconds) -> None:
    from gradio.context import LocalContext

    request = LocalContext.request.get(None)
    token = request.headers.get("x-ip-token") if request is not None else None
    with open(os.environ["FAKE_SPACES_LOG"], "a") as log:
        log.write(json.dumps({"seconds": seconds, "token": token}) + "\n")
