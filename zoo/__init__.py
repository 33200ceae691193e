"""The sampler zoo: see, compare and extend diffusion samplers.

What plugins, notebooks and the page import. Importing it loads neither torch nor diffusers.
"""

from pydantic import Field

from zoo.comparison import CellResult, Comparison, ComparisonResult, Event, compare, stream
from zoo.conditioner import Conditioner
from zoo.hookspecs import (
    API_VERSION as __api_version__,
)
from zoo.hookspecs import (
    AnnotatorSpec,
    ConditionerSpec,
    MetricSpec,
    ModelSpec,
    SamplerSpec,
    hookimpl,
)
from zoo.method import Method
from zoo.model import Model
from zoo.prediction import Prediction
from zoo.sampler import NEGATIVE, PROMPT, ClassQuery, Query, Sampler
from zoo.schedule import DiscreteSchedule, KarrasSchedule, Level, Levels, Schedule, Spacing

__version__ = "0.1.0"

__all__ = [
    "NEGATIVE",
    "PROMPT",
    "AnnotatorSpec",
    "CellResult",
    "ClassQuery",
    "Comparison",
    "ComparisonResult",
    "Conditioner",
    "ConditionerSpec",
    "DiscreteSchedule",
    "Event",
    "Field",
    "KarrasSchedule",
    "Level",
    "Levels",
    "Method",
    "MetricSpec",
    "Model",
    "ModelSpec",
    "Prediction",
    "Query",
    "Sampler",
    "SamplerSpec",
    "Schedule",
    "Spacing",
    "__api_version__",
    "__version__",
    "compare",
    "hookimpl",
    "stream",
]
