"""Loaded networks, and which of them leave when there is no room for another: the least recently used first."""

from __future__ import annotations

import gc
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

import torch

N = TypeVar("N")
Key = tuple[int, str, torch.device, torch.dtype]

_NOBODY = object()


class Shelf:
    """Keeps the networks of any owners until memory runs short or the owner is gone.

    Whoever holds a network keeps it from being freed, so an owner asks for it anew at every use.

    Args:
        free: bytes that a device has left.
    """

    def __init__(self, free: Callable[[torch.device], float] | None = None) -> None:
        self._free = free or free_memory
        self._networks: OrderedDict[Key, Any] = OrderedDict()
        self._owners: set[int] = set()
        self._lock = threading.RLock()

    def get(
        self,
        owner: object,
        role: str,
        device: torch.device,
        dtype: torch.dtype,
        load: Callable[[], N],
        size: Callable[[], int] = int,
    ) -> N:
        """The network of an owner's role on a device, loaded at the first call and after it had to leave.

        Args:
            owner: whose network it is; it leaves with its owner.
            role, device, dtype: which one.
            load: makes it.
            size: bytes it will take, asked before it is loaded; others leave until there are as many.
        """
        key = (id(owner), role, device, dtype)
        with self._lock:
            if key not in self._networks:
                needed = size()
                while self._free(device) < needed and self._drop(self._oldest(device, _NOBODY)):
                    pass
                self._networks[key] = self._load(load, device)
                if id(owner) not in self._owners:
                    self._owners.add(id(owner))
                    weakref.finalize(owner, self._forget, id(owner))
            self._networks.move_to_end(key)
            found: N = self._networks[key]
            return found

    def release(self, device: torch.device, keep: object = None) -> bool:
        """Let the least recently used network on a device go; False if there is none to spare.

        Args:
            device: that is short of memory.
            keep: whose networks stay; without, only the last one that was asked for, which is at work.
        """
        with self._lock:
            return self._drop(self._oldest(device, keep))

    def holds_others(self, device: torch.device, keep: object = None) -> bool:
        """Whether `release` would find one."""
        with self._lock:
            return self._oldest(device, keep) is not None

    def clear(self) -> None:
        """Let all go."""
        with self._lock:
            self._networks.clear()

    def _load(self, load: Callable[[], N], device: torch.device) -> N:
        while True:
            try:
                return load()
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error) or not self._networks:
                    raise
            # Only here, with the error gone, is what had been loaded free again.
            self._drop(self._oldest(device, _NOBODY) or next(iter(self._networks)))

    def _oldest(self, device: torch.device, keep: object) -> Key | None:
        idle = list(self._networks)[:-1] if keep is None else list(self._networks)
        return next((key for key in idle if key[2] == device and key[0] != id(keep)), None)

    def _drop(self, key: Key | None) -> bool:
        if key is None:
            return False
        del self._networks[key]
        device = key[2]
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        elif device.type == "mps":
            torch.mps.empty_cache()
        return True

    def _forget(self, owner: int) -> None:
        with self._lock:
            self._owners.discard(owner)
            for key in [key for key in self._networks if key[0] == owner]:
                del self._networks[key]


def free_memory(device: torch.device) -> float:
    """Bytes that can still be had on a device."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(torch.cuda.mem_get_info(device)[0] + cached)
    if device.type == "mps":
        return float(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    import psutil

    return float(psutil.virtual_memory().available)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory has run out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    message = str(error).lower()
    return "out of memory" in message or "not enough memory" in message or "can't allocate memory" in message


shelf = Shelf()
"""The one that all models share, since they share the memory."""
