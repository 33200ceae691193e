"""The detectors of controlnet_aux, each with where its weights come from and what they are.

The commits and SHA-256 digests are those that several public projects pin independently of each other. Every detector
opens its file with `torch.load`, which refuses whatever is more than tensors; see `zoo.HubFile`.
"""

from __future__ import annotations

import functools
import importlib.util
import pickle
import threading
import warnings
from contextlib import contextmanager
from typing import Any, ClassVar

from zoo import AnnotatorSpec, Detector, Field, HubFile, Unavailable, UrlFile, hookimpl


def annotators(path: str, size: str, sha256: str = "") -> HubFile:
    """A file of the repository that most of the detectors share."""
    return HubFile(
        "lllyasviel/Annotators", path, size, sha256, revision="982e7edaec38759d914a963c48c4726685de7d96"
    )


class AuxDetector(Detector):
    """A detector of controlnet_aux, imported, and its network loaded, at first use."""

    detector: ClassVar[str]
    """The name of its class."""
    files: ClassVar[dict[str, HubFile]] = {}
    """What `from_pretrained` calls its files, and the files, of one folder of one repository."""
    loading: ClassVar[dict[str, str]] = {}
    """What `from_pretrained` is told besides."""
    packages: ClassVar[tuple[str, ...]] = ()
    """What it imports besides what controlnet_aux depends on."""
    resizes: ClassVar[bool] = True
    """Whether it resizes its map, and must be told not to."""

    def check(self) -> None:
        for package in ("controlnet_aux", *self.packages):
            if importlib.util.find_spec(package) is None:
                how = INSTALL.get(package, f"pip install {package.replace('_', '-')}")
                raise Unavailable(f"{self.detector} needs the package {package}: {how}")
        for file in self.files.values():
            try:
                file.check()
            except Unavailable as error:
                raise Unavailable(f"{self.detector} {error}") from None

    def detect(self, seen):
        self.check()
        kind: Any = type(self)  # mypy holds a class for unhashable
        with _LOADING:
            network = _loaded(kind, self.device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of deprecations, and of divisions where a picture is plain
            return self.call(network, seen)

    def call(self, network: Any, seen: Any) -> Any:
        """Ask the detector for its map at the size of what it sees."""
        options = self.params.model_dump(exclude={"resolution"})
        if "blur" in options:
            options["guassian_sigma"] = options.pop("blur")  # as they spell it
        options["detect_resolution"] = resolution = min(seen.shape[:2])  # so that it does not resize
        if self.resizes:
            options["image_resolution"] = resolution
        return network(seen, output_type="np", **options)

    @classmethod
    def load(cls, made):
        """The detector, of the class `made`, with its network."""
        if not cls.files:
            return made()
        paths = {keyword: file.get() for keyword, file in cls.files.items()}
        names = {keyword: path.name for keyword, path in paths.items()}
        folder = next(iter(paths.values())).parent
        return made.from_pretrained(str(folder), **names, **cls.loading)

    @classmethod
    def place(cls, network, device):
        """Bring the network to a device."""
        if cls.files:
            network.to(device)


class Canny(AuxDetector):
    """Canny's edges, as ControlNet's own scripts draw them."""

    detector, lines, enlarges = "CannyDetector", True, False

    class Params(AuxDetector.Params):
        low_threshold: float = Field(100, ge=0, le=2040, title="Low threshold")
        high_threshold: float = Field(200, ge=0, le=2040, title="High threshold")


class Hed(AuxDetector):
    """Holistically nested edges, soft, by lllyasviel's network of that kind."""

    detector, lines = "HEDdetector", True
    files: ClassVar = {
        "filename": annotators(
            "ControlNetHED.pth",
            "29 MB",
            "5ca93762ffd68a29fee1af9d495bf6aab80ae86f08905fb35472a083a4c7a8fa",
        )
    }

    class Params(AuxDetector.Params):
        safe: bool = Field(
            False, title="Safe", description="round to a few levels, which hides the picture's texture"
        )
        scribble: bool = Field(False, title="Scribble", description="thick strokes in place of soft edges")


class Pidi(AuxDetector):
    """Soft edges by pixel difference networks."""

    detector, lines = "PidiNetDetector", True
    files: ClassVar = {
        "filename": annotators(
            "table5_pidinet.pth",
            "2.9 MB",
            "80860ac267258b5f27486e0ef152a211d0b08120f62aeb185a050acc30da486c",
        )
    }

    class Params(Hed.Params):
        apply_filter: bool = Field(False, title="Filter", description="black and white, cut at one half")


class Lineart(AuxDetector):
    """Line drawings as an artist would make them."""

    detector, lines = "LineartDetector", True
    files: ClassVar = {
        "filename": annotators(
            "sk_model.pth", "17 MB", "c686ced2a666b4850b4bb6ccf0748031c3eda9f822de73a34b8979970d90f0c6"
        ),
        "coarse_filename": annotators(
            "sk_model2.pth", "17 MB", "30a534781061f34e83bb9406b4335da4ff2616c95d22a585c1245aa8363e74e0"
        ),
    }

    class Params(AuxDetector.Params):
        coarse: bool = Field(False, title="Coarse", description="fewer, freer lines")


class LineartAnime(AuxDetector):
    """Line drawings of anime."""

    detector, lines = "LineartAnimeDetector", True
    files: ClassVar = {
        "filename": annotators(
            "netG.pth", "218 MB", "ccabdcc3f5cf3c07cf65d58776acb21df7dfda825cdc70c9766a93fd62bfc488"
        )
    }


class LineartStandard(AuxDetector):
    """Where the picture is darker than its surroundings, without a network."""

    detector, lines, enlarges, resizes = "LineartStandardDetector", True, False, False

    class Params(AuxDetector.Params):
        blur: float = Field(6.0, gt=0, le=50, title="Blur", description="in pixels")
        intensity_threshold: int = Field(8, ge=0, le=255, title="Threshold")


class Mlsd(AuxDetector):
    """Straight lines, by a network for line segments."""

    detector, lines = "MLSDdetector", True
    files: ClassVar = {
        "filename": annotators(
            "mlsd_large_512_fp32.pth",
            "6 MB",
            "5696f168eb2c30d4374bbfd45436f7415bb4d88da29bea97eea0101520fba082",
        )
    }

    class Params(AuxDetector.Params):
        thr_v: float = Field(0.1, ge=0, le=1, title="Score", description="least score of a line")
        thr_d: float = Field(
            0.1, ge=0, le=20, title="Length", description="least length, as the network sees it"
        )


class OpenPose(AuxDetector):
    """Skeletons of people: body, hands and face."""

    detector = "OpenposeDetector"
    files: ClassVar = {
        "filename": annotators(
            "body_pose_model.pth",
            "209 MB",
            "25a948c16078b0f08e236bda51a385d855ef4c153598947c28c0d47ed94bb746",
        ),
        "hand_filename": annotators(
            "hand_pose_model.pth",
            "147 MB",
            "b76b00d1750901abd07b9f9d8c98cc3385b8fe834a26d4b4f0aad439e75fc600",
        ),
        "face_filename": annotators(
            "facenet.pth", "154 MB", "8beb52e548624ffcc4aed12af7aee7dcbfaeea420c75609fee999fe7add79d43"
        ),
    }

    class Params(AuxDetector.Params):
        include_body: bool = Field(True, title="Body")
        include_hand: bool = Field(False, title="Hands")
        include_face: bool = Field(False, title="Face")


class DWPose(AuxDetector):
    """Skeletons of people by a distilled whole-body network, after a detector of people."""

    detector = "DWposeDetector"
    packages = ("mmengine", "mmcv", "mmdet", "mmpose")
    files: ClassVar = {
        "det_ckpt": UrlFile(
            "https://download.openmmlab.com/mmdetection/v2.0/yolox/yolox_l_8x8_300e_coco",
            "yolox_l_8x8_300e_coco_20211126_140236-d3bd2b23.pth",
            "",
            sha256="d3bd2b23",
        ),
        "pose_ckpt": HubFile(
            "yzd-v/DWPose",
            "dw-ll_ucoco_384.pth",
            "407 MB",
            "0d9408b13cd863c4e95a149dd31232f88f2a12aa6cf8964ed74d7d97748c7a07",
            revision="1a7144101628d69ee7a3768d1ee3a094070dc388",
        ),
    }

    @classmethod
    def load(cls, made):
        return made(**{keyword: str(file.get()) for keyword, file in cls.files.items()})


class Midas(AuxDetector):
    """Relative depth, near is light, by MiDaS (DPT hybrid)."""

    detector = "MidasDetector"
    files: ClassVar = {
        "filename": annotators(
            "dpt_hybrid-midas-501f0c75.pt",
            "0.5 GB",
            "501f0c75b3bca7daec6b3682c5054c09b366765aef6fa3a09d03a5cb4b230853",
        )
    }


class Zoe(AuxDetector):
    """Depth, near is light, by ZoeDepth."""

    detector = "ZoeDetector"
    files: ClassVar = {"filename": annotators("ZoeD_M12_N.pt", "1.4 GB")}

    class Params(AuxDetector.Params):
        gamma_corrected: bool = Field(
            False, title="Gamma", description="darken what is far, by the power 2.2"
        )


class NormalBae(AuxDetector):
    """Surface normals, as colours."""

    detector = "NormalBaeDetector"
    files: ClassVar = {
        "filename": annotators(
            "scannet.pt", "291 MB", "03dbf1600c51ee3d45c29f77b77bf1a3b7a24c3452dba62a4ae658f37330c209"
        )
    }


class Sam(AuxDetector):
    """Segments, each in a colour of its own, by Segment Anything; a colour means nothing."""

    detector = "SamDetector"
    loading: ClassVar = {"model_type": "vit_h"}
    files: ClassVar = {
        "filename": HubFile(
            "ybelkada/segment-anything",
            "checkpoints/sam_vit_h_4b8939.pth",
            "2.6 GB",
            "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
            revision="7790786db131bcdc639f24a915d9f2c331d843ee",
        )
    }

    class Params(AuxDetector.Params):
        seed: int = Field(0, ge=0, le=2**32 - 1, title="Seed", description="of the colours")

    params: Params

    def call(self, network, seen):
        # Not the detector's own drawing, which takes colours from a generator that everything shares, and fails where
        # nothing is found.
        import numpy as np

        segments = network.mask_generator.generate(seen)
        drawn = np.zeros_like(seen)
        colours = np.random.default_rng(self.params.seed)
        for segment in sorted(segments, key=lambda segment: -segment["area"]):
            drawn[segment["segmentation"]] = colours.integers(1, 256, 3)
        return drawn

    @classmethod
    def place(cls, network, device):
        network.mask_generator.predictor.model.to(device)


class MobileSam(Sam):
    """Segments by MobileSAM, a small network distilled from Segment Anything."""

    loading: ClassVar = {"model_type": "vit_t"}
    files: ClassVar = {
        "filename": HubFile(
            "dhkim2810/MobileSAM",
            "mobile_sam.pt",
            "41 MB",
            "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        )
    }


class Shuffle(AuxDetector):
    """The picture's content in another order: pixels moved along a smooth random flow."""

    detector = "ContentShuffleDetector"

    class Params(AuxDetector.Params):
        f: int = Field(256, ge=16, le=1024, title="Size of waves", description="in pixels of what it sees")
        seed: int = Field(0, ge=0, le=2**32 - 1, title="Seed")

    params: Params

    def call(self, network, seen):
        side = min(seen.shape[:2])
        with _numpy_seeded(self.params.seed):
            return network(
                seen, f=self.params.f, detect_resolution=side, image_resolution=side, output_type="np"
            )


class Teed(AuxDetector):
    """Soft edges by a tiny network."""

    detector, lines, resizes = "TEEDdetector", True, False
    files: ClassVar = {
        "filename": HubFile(
            "bdsqlsz/qinglong_controlnet-lllite",
            "Annotators/7_model.pth",
            "0.2 MB",
            "b9037964149c55156c6adbffdfbd7e8ca7d2ef2a4d90573520efa7f3a1aacf06",
        )
    }

    class Params(AuxDetector.Params):
        safe_steps: int = Field(
            2, ge=0, le=10, title="Levels", description="round to so many levels; 0 is not at all"
        )


class Anyline(AuxDetector):
    """Soft edges by a tiny network, with the fine dark lines that it misses added."""

    detector, lines, resizes = "AnylineDetector", True, False
    files: ClassVar = {
        "filename": HubFile(
            "TheMistoAI/MistoLine",
            "Anyline/MTEED.pth",
            "0.2 MB",
            "a3c2d8a8ce9422555c787160bd46362d761325a565333c0e3f6a53e0bae2abdb",
        )
    }

    class Params(LineartStandard.Params):
        resolution: int = Field(1280, ge=64, le=2048, multiple_of=64, title="Resolution")
        blur: float = Field(2.0, gt=0, le=50, title="Blur", description="in pixels")
        intensity_threshold: int = Field(3, ge=0, le=255, title="Threshold")


DETECTORS: dict[str, tuple[type[AuxDetector], str, str]] = {
    "canny": (Canny, "Canny edges (controlnet_aux)", ""),
    "hed": (Hed, "HED soft edges", ""),
    "pidi": (Pidi, "PiDiNet soft edges", "Its licence allows research; ask its authors for more."),
    "lineart": (Lineart, "Line art", ""),
    "lineart_anime": (LineartAnime, "Line art (anime)", ""),
    "lineart_standard": (LineartStandard, "Line art without a network", ""),
    "mlsd": (Mlsd, "M-LSD straight lines", ""),
    "openpose": (OpenPose, "OpenPose", "Its licence allows non-commercial use only."),
    "dwpose": (DWPose, "DWPose", ""),
    "midas": (Midas, "MiDaS depth", ""),
    "zoe": (Zoe, "ZoeDepth", ""),
    "normal_bae": (NormalBae, "BAE surface normals", ""),
    "sam": (Sam, "Segment Anything", ""),
    "mobile_sam": (MobileSam, "MobileSAM", ""),
    "shuffle": (Shuffle, "Content shuffle", ""),
    "teed": (Teed, "TEED soft edges", ""),
    "anyline": (Anyline, "Anyline", ""),
}
"""Name → class, title, and what to know besides."""

INSTALL = {
    package: f"pip install openmim && mim install {wanted}"
    for package, wanted in {
        "mmengine": "mmengine",
        "mmcv": "'mmcv>=2.0.1'",
        "mmdet": "'mmdet>=3.1.0'",
        "mmpose": "'mmpose>=1.1.0'",
    }.items()
}

_LOADING = threading.Lock()
"""One network is loaded at a time, once."""

_SEEDING = threading.Lock()


@functools.lru_cache(maxsize=2)
def _loaded(cls: Any, device: str) -> Any:
    """A detector with its network, kept for the next picture.

    Raises:
        ValueError: its file holds something else than its weights.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of packages that only some detectors use
        import controlnet_aux

    try:
        network = cls.load(getattr(controlnet_aux, cls.detector))
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{cls.detector}: {_listed(cls)} holds more than weights, which could run code, so it was not opened"
        ) from error
    except (RuntimeError, EOFError, KeyError, TypeError) as error:
        raise ValueError(f"{cls.detector}: {_listed(cls)} does not hold its weights: {error}") from error
    if device != "cpu":
        cls.place(network, device)
    return network


@contextmanager
def _numpy_seeded(seed):
    """NumPy's global generator, which a detector draws from, starting at a seed; afterwards it goes on as before."""
    import numpy as np

    with _SEEDING:
        before = np.random.get_state()
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(before)


def _listed(cls: type[AuxDetector]) -> str:
    return ", ".join(str(file) for file in cls.files.values())


def _needs(cls: type[AuxDetector]) -> str:
    packages = [f"packages {', '.join(cls.packages)}"] if cls.packages else []
    return "; ".join([*packages, *map(str, cls.files.values())])


@hookimpl
def register_annotators():
    return [
        AnnotatorSpec(
            f"controlnet_aux/{name}",
            cls,
            title=title,
            summary=f"{cls.__doc__} {note}".strip(),
            needs=_needs(cls),
        )
        for name, (cls, title, note) in DETECTORS.items()
    ]
