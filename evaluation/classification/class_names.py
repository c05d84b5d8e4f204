"""Class names and prompt templates, pinned with where they are from: both move zero-shot numbers by points.

`ImageFolder` numbers classes by sorted folder name; names here are in that order.
"""

from dataclasses import dataclass
from typing import Literal

PromptOrder = Literal["mean_then_normalise", "normalise_then_mean"]


@dataclass(frozen=True, kw_only=True)
class ClassSet:
    """The classes of a dataset: folders, what a prompt says for each, and the source of the names."""

    folders: tuple[str, ...]
    names: tuple[str, ...]
    source: str

    def index_of(self, name: str, what: str = "folder") -> int:
        """Class index of a folder, or of what else is named, however it spells spaces and capitals (`BareLand`)."""
        keys = [_letters(folder) for folder in self.folders]
        if _letters(name) not in keys:
            raise ValueError(f"{what} {name!r} is no class; wanted one of {', '.join(self.folders)}.")
        return keys.index(_letters(name))


@dataclass(frozen=True, kw_only=True)
class PromptSet:
    """Templates with one `{}` each, the order in which their embeddings are averaged, and the source."""

    templates: tuple[str, ...]
    order: PromptOrder
    source: str


def class_text(folder: str) -> str:
    """RS5M's rule from folder to class text: `_` and `/` become spaces, all lower case."""
    return folder.replace("_", " ").replace("/", " ").lower()


def _letters(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _classes(folders: str, source: str) -> ClassSet:
    split = tuple(folder.strip() for folder in folders.split(","))
    return ClassSet(folders=split, names=tuple(class_text(folder) for folder in split), source=source)


AID = _classes(
    "Airport, Bare Land, Baseball Field, Beach, Bridge, Center, Church, Commercial, Dense Residential, Desert, "
    "Farmland, Forest, Industrial, Meadow, Medium Residential, Mountain, Park, Parking, Playground, Pond, Port, "
    "Railway Station, Resort, River, School, Sparse Residential, Square, Stadium, Storage Tanks, Viaduct",
    "AID (Xia et al., TGRS 2017), 30 classes; words split as in the folders that RS5M ships",
)
RESISC45 = _classes(
    "airplane, airport, baseball_diamond, basketball_court, beach, bridge, chaparral, church, circular_farmland, "
    "cloud, commercial_area, dense_residential, desert, forest, freeway, golf_course, ground_track_field, harbor, "
    "industrial_area, intersection, island, lake, meadow, medium_residential, mobile_home_park, mountain, overpass, "
    "palace, parking_lot, railway, railway_station, rectangular_farmland, river, roundabout, runway, sea_ice, ship, "
    "snowberg, sparse_residential, stadium, storage_tank, tennis_court, terrace, thermal_power_station, wetland",
    "NWPU-RESISC45 (Cheng et al., Proc. IEEE 2017), 45 classes",
)
# RS5M's effective names depend on the folders of its archive: its own list of descriptive names is commented out.
# Both readings are pinned; a result says which one it used.
EUROSAT_FOLDERS = _classes(
    "AnnualCrop, Forest, HerbaceousVegetation, Highway, Industrial, Pasture, PermanentCrop, Residential, River, "
    "SeaLake",
    "EuroSAT (Helber et al., JSTARS 2019), 10 classes; RS5M's rule applied to the official folders",
)
EUROSAT = ClassSet(
    folders=EUROSAT_FOLDERS.folders,
    names=(
        "annual crop land",
        "forest",
        "brushland or shrubland",
        "highway or road",
        "industrial buildings or commercial buildings",
        "pasture land",
        "permanent crop land",
        "residential buildings or homes or apartments",
        "river",
        "lake or sea",
    ),
    source="CLIP's published prompts (openai/CLIP 04f4dc2 data/prompts.md); commented out in RS5M's RSEuroSAT.py",
)
# Boxes, not folders, and in FusionRS's order; DontCare boxes are ignored.
HIT_UAV = _classes("person, bicycle, car, other vehicle", "HIT-UAV as FusionRS scores presence, 4 classes")

CLASS_SETS = {
    "aid": AID,
    "resisc45": RESISC45,
    "eurosat": EUROSAT,
    "eurosat-folders": EUROSAT_FOLDERS,
    "hit-uav": HIT_UAV,
}

_QUALITIES = (
    *("low resolution", "bad", "cropped", "bright", "dark"),
    *("close-up", "black and white", "jpeg corrupted", "blurry", "good"),
)
_LOOKS = ("large", "nice", "small", "weird", "cool")


def _rs5m_templates(article: str, image: str) -> list[str]:
    """The 35 patterns of RS5M for one kind of image."""
    start = f"{article} {image} of"
    templates = [f"{start} many {{}}.", f"{start} a {{}}.", f"{start} the {{}}."]
    templates += [f"{start} {determiner} hard to see {{}}." for determiner in ("the", "a")]
    templates += [f"a {quality} {image} of {determiner} {{}}." for quality in _QUALITIES for determiner in ("the", "a")]
    templates += [f"{start} {determiner} {look} {{}}." for look in _LOOKS for determiner in ("the", "a")]
    return templates


RS5M_TEMPLATES = (
    *_rs5m_templates("a", "remote sensing image"),
    *_rs5m_templates("an", "aerial image"),
    *_rs5m_templates("a", "satellite image"),
)
_CLIP_RESISC45 = tuple(
    f"{view} {kind} of {determiner}{{}}."
    for determiner in ("", "a ", "the ")
    for kind in ("imagery", "photo", "view")
    for view in ("satellite", "aerial")
)

PROMPT_SETS = {
    "rs5m": PromptSet(
        templates=RS5M_TEMPLATES,
        order="mean_then_normalise",
        source="om-ai-lab/RS5M d83abfb inference/classname_and_prompt/RSAID.py and inference_tool.py, 105 templates",
    ),
    "rs5m-normalised": PromptSet(
        templates=RS5M_TEMPLATES,
        order="normalise_then_mean",
        source="RS5M's 105 templates in the order of CLIP: no published number",
    ),
    "remoteclip": PromptSet(
        templates=("a satellite photo of {}",),
        order="normalise_then_mean",
        source="RemoteCLIP (Liu et al., TGRS 2024), one template",
    ),
    "skyscript": PromptSet(
        templates=("a satellite photo of {}.", "a satellite image of {}"),
        order="normalise_then_mean",
        source="wangzhecheng/SkyScript df09dc8 prompt_templates.py, two templates (the second has no full stop)",
    ),
    "rs-transclip": PromptSet(
        templates=("a satellite photo of a {}.", *RS5M_TEMPLATES),
        order="normalise_then_mean",
        source="elkhouryk/RS-TransCLIP 01df065 run_featuregeneration.py, averageprompt.py, 106 templates",
    ),
    "clip-resisc45": PromptSet(
        templates=_CLIP_RESISC45,
        order="normalise_then_mean",
        source="openai/CLIP data/prompts.md, RESISC45, 18 templates",
    ),
    "clip-eurosat": PromptSet(
        templates=tuple(f"a centered satellite photo of {determiner}{{}}." for determiner in ("", "a ", "the ")),
        order="normalise_then_mean",
        source="openai/CLIP data/prompts.md, EuroSAT, 3 templates",
    ),
    "fusionrs-infrared": PromptSet(
        templates=(
            "a thermal infrared image of a {} scene",
            "an infrared image of {}",
            "a low light thermal view of {}",
        ),
        order="normalise_then_mean",
        source="frozy129/FusionRS zero-shot infrared classification, three templates",
    ),
    "hit-uav": PromptSet(
        templates=(
            "a thermal infrared UAV image containing {}",
            "an aerial thermal image of {}",
            "an infrared drone view with {}",
        ),
        order="normalise_then_mean",
        source="frozy129/FusionRS HIT-UAV presence, three templates; their order of averaging is not stated there",
    ),
}
