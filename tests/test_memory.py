"""The shelf of loaded networks: what is least recently used leaves first, and comes back when it is asked for."""

from __future__ import annotations

import gc

import pytest
import torch

from tests.helpers import CPU, PixelModel, finish, make_cell, rowwise
from zoo import Comparison, compare
from zoo.memory import Shelf, free_memory, out_of_memory
from zoo.registry import Registry

HUNGRY = """
from zoo import Query, Sampler, SamplerSpec, hookimpl
ZOO_API = 1

class Hungry(Sampler):
    def sample(self, x, levels, noise):
        yield Query(x, levels[0])
        return x.new_zeros(10**15)

@hookimpl
def register_samplers():
    return [SamplerSpec("hungry", Hungry, title="Hungry")]
"""


class Owner:
    """Has networks."""


class Machine:
    """A shelf on a machine with room for 100, and what was loaded in which order."""

    def __init__(self):
        self.loaded: list[str] = []
        self.shelf = Shelf(lambda device: 100 - sum(n.size for n in self.shelf._networks.values()))

    def get(self, owner, role, size=40):
        def load():
            self.loaded.append(role)
            network = Owner()
            network.size = size
            return network

        return self.shelf.get(owner, role, CPU, torch.float32, load, lambda: size)


def test_the_least_recently_used_leaves():
    machine, owner = Machine(), Owner()
    for role in ("a", "b", "a", "c", "a", "b"):  # c takes the place of b, then b that of c
        machine.get(owner, role)
    assert machine.loaded == ["a", "b", "c", "b"]


def test_as_many_leave_as_it_takes():
    machine, owner = Machine(), Owner()
    for role in ("a", "b"):
        machine.get(owner, role)
    machine.get(owner, "large", size=90)
    machine.get(owner, "b")
    assert machine.loaded == ["a", "b", "large", "b"]
    machine.get(owner, "larger than all", size=1000)
    assert machine.loaded[-1] == "larger than all", "it is tried nevertheless"


def test_when_loading_runs_out_of_memory_others_leave():
    shelf, owner, failures = Shelf(lambda device: 1e9), Owner(), iter([True, True, False])
    for role in ("a", "b", "c"):
        shelf.get(owner, role, CPU, torch.float32, object)

    def load():
        if next(failures):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return "d"

    assert shelf.get(owner, "d", CPU, torch.float32, load) == "d"
    assert [key[1] for key in shelf._networks] == ["c", "d"]

    def impossible():
        raise MemoryError

    with pytest.raises(MemoryError):
        shelf.get(owner, "e", CPU, torch.float32, impossible)


def test_another_error_of_loading_is_its_own():
    shelf, owner = Shelf(), Owner()
    shelf.get(owner, "a", CPU, torch.float32, object)
    with pytest.raises(ZeroDivisionError):
        shelf.get(owner, "b", CPU, torch.float32, lambda: 1 / 0)
    assert len(shelf._networks) == 1


def test_networks_leave_with_their_owner():
    machine, owner, other = Machine(), Owner(), Owner()
    machine.get(owner, "a")
    machine.get(other, "b")
    del owner
    gc.collect()
    assert [key[1] for key in machine.shelf._networks] == ["b"]


def test_a_pass_that_runs_out_of_memory_is_tried_without_other_models(monkeypatch):
    """Before its batch is halved."""
    from zoo import engine

    shelf, owner = Shelf(), Owner()
    monkeypatch.setattr(engine, "shelf", shelf)
    shelf.get(owner, "a", CPU, torch.float32, object)

    def crowded(x, t, texts):
        if shelf._networks:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return rowwise(x, t, texts)

    model = PixelModel(crowded)
    (cell,) = finish(make_cell(model, "ddim steps=2", range(4)))
    assert cell.status == "done", cell.traceback
    assert [len(x) for x, _, _ in model.calls] == [4, 4, 4]


def test_the_network_at_work_stays_when_others_are_released():
    machine, owner, other = Machine(), Owner(), Owner()
    machine.get(owner, "a", size=1)
    machine.get(owner, "b", size=1)
    assert machine.shelf.release(CPU) and not machine.shelf.release(CPU)
    assert [key[1] for key in machine.shelf._networks] == ["b"]
    assert not machine.shelf.release(CPU, keep=owner) and machine.shelf.holds_others(CPU, keep=other)


def test_a_cell_that_asks_for_too_much_says_so_and_fails_alone(tmp_path):
    """A real failure of the allocator: more than any machine has."""
    (tmp_path / "hungry.py").write_text(HUNGRY)
    registry = Registry(tmp_path)
    comparison = Comparison(model="gaussian", cells=("hungry/hungry", "ddim steps=2"))
    hungry, modest = compare(comparison, device="cpu", registry=registry).cells
    assert (hungry.status, modest.status) == ("failed", "done")
    assert hungry.error.startswith("there is not enough memory for this cell: take fewer seeds")
    assert "allocate" in hungry.error


def test_what_counts_as_running_out():
    assert out_of_memory(MemoryError()) and out_of_memory(
        RuntimeError("DefaultCPUAllocator: can't allocate memory")
    )
    assert not out_of_memory(RuntimeError("shapes do not match"))
    assert 0 < free_memory(CPU) < 1e15
