"""Specs: implementations by address, imported at first use, and their parameters."""

import sys

import pytest
from pydantic import BaseModel, ValidationError

from tests.registry.specimens import write
from zoo.hookspecs import ImplementationError, ModelSpec, SamplerSpec


def test_an_implementation_given_by_address_is_imported_at_first_use(tmp_path, monkeypatch):
    source = """\
        from pydantic import BaseModel
        class Outer:
            class Inner:
                class Params(BaseModel):
                    steps: int = 9
        """
    write(tmp_path, "zoo_lazy_module", source)
    monkeypatch.syspath_prepend(tmp_path)
    spec = SamplerSpec("lazy", "zoo_lazy_module:Outer.Inner", title="Lazy")
    assert "zoo_lazy_module" not in sys.modules
    assert spec.params_model()().model_dump() == {"steps": 9}
    assert spec.load() is sys.modules["zoo_lazy_module"].Outer.Inner


@pytest.mark.parametrize(
    "address",
    ["zoo_absent:Thing", "zoo.hookspecs:Thing", "zoo_exits_late:Thing"],
    ids=["module", "name", "exits"],
)
def test_an_implementation_that_cannot_be_imported_is_named(tmp_path, monkeypatch, address):
    write(tmp_path, "zoo_exits_late", "raise SystemExit")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ImplementationError, match=f"sampler 'lazy' cannot be used: importing {address} failed"
    ):
        SamplerSpec("lazy", address, title="Lazy").load()


def test_parameters_are_the_given_the_implementations_or_none():
    class Given(BaseModel):
        pass

    class Implementation:
        class Params(BaseModel):
            pass

    assert SamplerSpec("a", Implementation, title="A", params=Given).params_model() is Given
    assert SamplerSpec("a", Implementation, title="A").params_model() is Implementation.Params
    without = ModelSpec("a", lambda: None, title="A").params_model()
    assert without.model_fields == {}
    with pytest.raises(ValidationError):
        without(steps=3)
