"""The zoo's conformance kit; `python -m zoo check restart` runs the same."""

from sampler_zoo_restart import plugin

from zoo.testing import parametrize_with_checks


@parametrize_with_checks(plugin, settings={"restart": [{"restarts": 0}, {"restarts": 3, "high": 0.6}]})
def test_conformance(check):
    check()
