from collections.abc import Iterator
from typing import Any

import pytest

from tests.small_model import save_small_model
from tests.ui.browser import Server, chromium, page_server
from tests.ui.person import opened, quickest

PLUGIN = '''
"""A sampler that fails, one that is slow, and a model that can be controlled."""
import time
from zoo import ModelSpec, Query, Sampler, SamplerSpec, Field, hookimpl
ZOO_API = 1

class Failing(Sampler):
    def sample(self, x, levels, noise):
        yield Query(x, levels[0])
        raise RuntimeError("<b>broken</b> on purpose")

class Slow(Sampler):
    class Params(Sampler.Params):
        steps: int = Field(500, ge=1, le=1000)
    def sample(self, x, levels, noise):
        for t, s in levels.pairs():
            prediction = yield Query(x, t)
            time.sleep(0.1)
        return prediction.x0

@hookimpl
def register_samplers():
    return [SamplerSpec("failing", Failing, title="Failing"), SamplerSpec("slow", Slow, title="Slow")]

def build():
    from zoo.models.tinyworld import TextToPixels
    return TextToPixels(FOLDER, "odd/small", "Small")

@hookimpl
def register_models():
    return [ModelSpec("small", build, title="Small, with ControlNets")]
'''


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("plugins")
    small = save_small_model(tmp_path_factory.mktemp("models") / "small")
    (folder / "odd.py").write_text(PLUGIN.replace("FOLDER", repr(str(small))))
    (folder / "damaged.py").write_text("ZOO_API = 1\nimport no_such_library\n")
    with page_server("--device", "cpu", "--plugins-dir", str(folder)) as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser: Any, server: Any) -> Iterator[Any]:
    """The page; a test may have it answered with 503."""
    with opened(browser, server, tolerated="503", accept_downloads=True) as page:
        yield page


@pytest.fixture
def skies(page: Any) -> Any:
    """The page with the quickest model."""
    return quickest(page)
