"""The sampler zoo: see, compare and extend diffusion samplers.

What plugins, notebooks and the page import. Importing it loads neither torch nor diffusers.
"""

from pydantic import Field

from zoo.annotator import Annotator, annotate
from zoo.comparison import CellResult, Comparison, ComparisonResult, Event, compare, stream
from zoo.conditioner import Conditioner
from zoo.detector import Detector
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
from zoo.hub import HubFile, Unavailable, UrlFile
from zoo.interpolation import Interpolation, interpolate
from zoo.inversion import Inversion, invert
from zoo.karras import KarrasSampler
from zoo.limits import Limits
from zoo.method import Method
from zoo.metric import Absent, Finished, Metric, NoScore, Score
from zoo.model import Model
from zoo.pictures import PictureName
from zoo.prediction import Endpoint, Prediction
from zoo.registry import Registry
from zoo.sampler import NEGATIVE, PROMPT, ClassQuery, Control, Query, Sampler
from zoo.schedule import DiscreteSchedule, KarrasSchedule, Level, Levels, Schedule, Spacing

__version__ = "0.1.0"

__all__ = [
    "NEGATIVE",
    "PROMPT",
    "Absent",
    "Annotator",
    "AnnotatorSpec",
    "CellResult",
    "ClassQuery",
    "Comparison",
    "ComparisonResult",
    "Conditioner",
    "ConditionerSpec",
    "Control",
    "Detector",
    "DiscreteSchedule",
    "Endpoint",
    "Event",
    "Field",
    "Finished",
    "HubFile",
    "Interpolation",
    "Inversion",
    "KarrasSampler",
    "KarrasSchedule",
    "Level",
    "Levels",
    "Limits",
    "Method",
    "Metric",
    "MetricSpec",
    "Model",
    "ModelSpec",
    "NoScore",
    "PictureName",
    "Prediction",
    "Query",
    "Registry",
    "Sampler",
    "SamplerSpec",
    "Schedule",
    "Score",
    "Spacing",
    "Unavailable",
    "UrlFile",
    "__api_version__",
    "__version__",
    "annotate",
    "compare",
    "hookimpl",
    "interpolate",
    "invert",
    "stream",
]
