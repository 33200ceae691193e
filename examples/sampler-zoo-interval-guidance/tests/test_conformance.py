"""The zoo's conformance kit; `python -m zoo check interval_guidance` runs the same."""

from sampler_zoo_interval_guidance import plugin

from zoo.testing import parametrize_with_checks


@parametrize_with_checks(plugin, settings={"interval": [{"low": 0.0, "high": 1000.0}]})
def test_conformance(check):
    check()
