"""What a caption of a remote-sensing image names: concepts with their synonyms, and what each concept implies.

A small hand-made vocabulary, after the class names of public scene-classification sets. A word that it does not hold
is no concept, so it is a check of what is known, not a parser.
"""

import re
from functools import lru_cache

# Concept: its words, in the singular. A phrase is found before its words.
# fmt: off
CONCEPTS: dict[str, tuple[str, ...]] = {
    "airplane": ("airplane", "aeroplane", "aircraft", "plane", "jet", "airliner"),
    "airport": ("airport", "airfield", "aerodrome", "airbase", "air base"),
    "animal": ("animal", "cow", "sheep", "horse", "cattle", "elephant", "deer", "bird", "dog", "livestock"),
    "apron": ("apron", "tarmac", "airport stand"),
    "baseball field": ("baseball field", "baseball diamond", "ballpark"),
    "basketball court": ("basketball court",),
    "beach": ("beach", "sand beach", "sandy beach"),
    "boat": ("boat", "yacht", "sailboat", "motorboat"),
    "bridge": ("bridge", "viaduct", "overpass", "flyover"),
    "building": ("building", "house", "warehouse", "hall", "shed", "hangar", "tower block", "villa",
        "skyscraper", "apartment", "home", "factory", "hut", "barn", "mansion", "greenhouse", "office block",
        "high-rise"),
    "bus": ("bus", "coach"),
    "canal": ("canal", "waterway", "channel"),
    "car": ("car", "automobile", "sedan"),
    "cemetery": ("cemetery", "graveyard"),
    "chimney": ("chimney", "smokestack"),
    "church": ("church", "cathedral", "chapel"),
    "city": ("city", "town", "downtown", "urban area", "village", "settlement", "commercial area", "city centre"),
    "cloud": ("cloud",),
    "coast": ("coast", "coastline", "shore", "shoreline", "seashore", "bank", "river bank"),
    "container": ("container", "shipping container"),
    "cooling tower": ("cooling tower",),
    "crane": ("crane", "gantry"),
    "dam": ("dam", "weir"),
    "desert": ("desert", "dune", "sand dune"),
    "farmland": ("farmland", "cropland", "crop", "farm", "field", "crop field", "agricultural field", "paddy",
        "terrace", "agricultural land", "arable land", "pasture"),
    "ferry": ("ferry",),
    "fire": ("fire", "flame", "smoke"),
    "football field": ("football field", "soccer field", "football pitch", "soccer pitch", "pitch"),
    "forest": ("forest", "wood", "woodland", "jungle", "rainforest", "tree canopy", "mangrove"),
    "fountain": ("fountain",),
    "glacier": ("glacier", "snow", "ice", "iceberg", "snowberg", "sea ice"),
    "golf course": ("golf course", "golf green", "fairway", "bunker"),
    "grass": ("grass", "lawn", "meadow", "grassland", "turf"),
    "harbor": ("harbor", "harbour", "port", "dock", "marina", "quay", "wharf", "dockyard", "shipyard"),
    "helicopter": ("helicopter",),
    "helipad": ("helipad", "heliport"),
    "highway": ("highway", "motorway", "freeway", "expressway", "interchange"),
    "industrial area": ("industrial area", "industrial park", "refinery", "industrial zone", "industrial plant"),
    "intersection": ("intersection", "crossroad", "junction", "roundabout", "crossing"),
    "island": ("island", "islet", "isle"),
    "lake": ("lake", "reservoir", "lagoon"),
    "lighthouse": ("lighthouse",),
    "locomotive": ("locomotive",),
    "mine": ("quarry", "open-pit mine", "opencast mine", "mine"),
    "mountain": ("mountain", "ridge", "hill", "peak", "valley", "cliff", "volcano"),
    "orchard": ("orchard", "plantation", "vineyard", "grove"),
    "parking lot": ("parking lot", "car park", "parking area", "parking space", "parking", "stall"),
    "path": ("path", "trail", "footpath", "walkway", "sidewalk", "pavement"),
    "people": ("people", "person", "pedestrian", "crowd", "man", "woman", "human", "spectator"),
    "pier": ("pier", "jetty", "berth", "breakwater"),
    "pipeline": ("pipeline", "pipe"),
    "playground": ("playground", "sports field", "athletic field"),
    "pond": ("pond",),
    "power plant": ("power plant", "power station"),
    "pylon": ("pylon", "power line", "transmission tower", "power tower"),
    "railway": ("railway", "railroad", "rail", "rail track", "railway line", "train track", "rail line"),
    "residential area": ("residential area", "neighborhood", "neighbourhood", "suburb", "housing estate"),
    "river": ("river", "stream", "creek", "brook"),
    "road": ("road", "street", "lane", "avenue", "roadway", "driveway", "alley"),
    "rock": ("rock", "boulder", "reef"),
    "roof": ("roof", "rooftop"),
    "runway": ("runway", "airstrip", "landing strip"),
    "sand": ("sand",),
    "school": ("school", "university", "campus"),
    "sea": ("sea", "ocean", "bay", "gulf"),
    "ship": ("ship", "vessel", "cargo ship", "tanker", "freighter", "warship", "barge", "container ship"),
    "shrub": ("shrub", "bush", "hedge", "chaparral"),
    "soil": ("soil", "bare ground", "bare land", "bare soil", "mud"),
    "solar panel": ("solar panel", "solar farm", "solar array", "photovoltaic panel", "solar plant"),
    "stadium": ("stadium", "arena", "grandstand"),
    "storage tank": ("storage tank", "tank", "oil tank", "silo", "tank farm"),
    "swimming pool": ("swimming pool", "pool"),
    "taxiway": ("taxiway",),
    "tennis court": ("tennis court", "court"),
    "tent": ("tent",),
    "terminal": ("terminal", "terminal building", "station building"),
    "tractor": ("tractor", "harvester"),
    "train": ("train", "railcar", "wagon"),
    "train station": ("train station", "railway station", "platform"),
    "tree": ("tree", "palm", "vegetation", "greenery"),
    "truck": ("truck", "lorry", "trailer"),
    "tunnel": ("tunnel",),
    "vehicle": ("vehicle",),
    "wake": ("wake",),
    "water": ("water", "water body", "body of water", "waterbody"),
    "wetland": ("wetland", "marsh", "swamp"),
    "wind turbine": ("wind turbine", "windmill", "wind farm"),
}
# fmt: on
# A scene that names the first may be described by the others; what those imply follows.
IMPLIES: dict[str, tuple[str, ...]] = {
    "airport": ("runway", "taxiway", "apron", "terminal", "building", "airplane"),
    "apron": ("airport",),
    "runway": ("airport",),
    "taxiway": ("airport",),
    "baseball field": ("playground", "grass"),
    "basketball court": ("playground",),
    "beach": ("sand", "coast"),
    "boat": ("ship",),
    "building": ("roof",),
    "bus": ("vehicle",),
    "canal": ("water", "coast"),
    "car": ("vehicle",),
    "church": ("building",),
    "city": ("building", "road"),
    "coast": ("water", "beach"),
    "desert": ("sand",),
    "ferry": ("ship",),
    "football field": ("playground", "grass"),
    "forest": ("tree",),
    "golf course": ("grass",),
    "harbor": ("pier", "water", "ship", "boat"),
    "highway": ("road", "intersection"),
    "industrial area": ("building", "road"),
    "intersection": ("road",),
    "island": ("water", "coast"),
    "lake": ("water", "coast"),
    "locomotive": ("train",),
    "mine": ("soil",),
    "orchard": ("tree", "farmland"),
    "parking lot": ("car", "path"),
    "playground": ("grass",),
    "pond": ("water", "lake", "coast"),
    "power plant": ("building",),
    "railway": ("road",),
    "residential area": ("building", "road"),
    "river": ("water", "coast"),
    "school": ("building",),
    "sea": ("water", "coast"),
    "ship": ("boat",),
    "stadium": ("playground", "football field", "building"),
    "storage tank": ("roof",),
    "swimming pool": ("water",),
    "terminal": ("building",),
    "tractor": ("vehicle",),
    "train": ("railway",),
    "train station": ("railway", "building"),
    "truck": ("vehicle",),
    "wetland": ("water",),
}
# Words with other everyday senses ("field of view", "plane of focus"): they support a claim, but make none.
SUPPORT_ONLY = frozenset({"bank", "coach", "court", "field", "hill", "home", "hall", "lane", "mine", "palm", "peak"})
SUPPORT_ONLY |= {"channel", "crossing", "fire", "grove", "pitch", "plane", "platform", "pool", "port", "ridge", "stall"}
SUPPORT_ONLY |= {"stream", "terrace", "valley", "wake", "wood", "bay", "bunker", "jet", "path", "pavement", "terminal"}
_IRREGULAR = {
    "people": "people",
    "men": "man",
    "women": "woman",
    "buses": "bus",
    "leaves": "leaf",
    "glaciers": "glacier",
}
_INVARIABLE = frozenset(
    {"grass", "aircraft", "bus", "campus", "canvas", "gas", "glass", "pass", "this", "is", "as", "has"}
)
_NEGATIONS = frozenset({"no", "without", "not", "neither", "nor"})
# fmt: off
_STOP_WORDS = frozenset({
    "a", "an", "the", "and", "or", "of", "in", "on", "at", "to", "by", "for", "from", "with", "as", "is", "are",
    "was", "were", "be", "been", "being", "it", "its", "this", "that", "these", "those", "there", "here", "which",
    "who", "where", "while", "when", "some", "many", "several", "few", "more", "most", "other", "another", "one",
    "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "both", "each", "every", "all", "any",
    "near", "beside", "next", "between", "among", "around", "along", "across", "over", "under", "above", "below",
    "into", "through", "up", "down", "out", "off", "very", "can", "could", "seen", "visible", "view", "image",
    "photo", "picture", "scene", "shows", "show", "showing", "has", "have", "had", "contains", "contain", "including",
    "include", "aerial", "satellite", "remote", "sensing", "overhead", "area", "large", "small", "big", "located",
    "surrounded", "lot", "piece", "kind", "we", "see", "side", "sides", "together", "close",
})
# fmt: on
_WORD = re.compile(r"[^\W\d_]+(?:'s)?")


def singular(word: str) -> str:
    """The singular of a regular English plural, in small letters; other words as they are."""
    word = word.lower().removesuffix("'s")
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word in _INVARIABLE or len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("ches", "shes", "xes", "sses")) else word[:-1]


def words_of(text: str) -> tuple[str, ...]:
    """Words in the singular; a hyphen parts words."""
    return tuple(singular(match[0]) for match in _WORD.finditer(text.replace("’", "'")))


@lru_cache(maxsize=4096)
def named_concepts(text: str, *, as_claims: bool = False) -> frozenset[str]:
    """Concepts that a text names and does not deny.

    Args:
        text: any caption.
        as_claims: leave out words that often mean something else, so that they accuse no caption.
    """
    words = words_of(text)
    found = set()
    at = 0
    while at < len(words):
        length = next((n for n in (3, 2, 1) if words[at : at + n] in _CONCEPT_OF and at + n <= len(words)), 0)
        is_denied = not _NEGATIONS.isdisjoint(words[max(0, at - 2) : at])
        if length and not is_denied and not (as_claims and length == 1 and words[at] in SUPPORT_ONLY):
            found.add(_CONCEPT_OF[words[at : at + length]])
        at += max(1, length)
    return frozenset(found)


@lru_cache(maxsize=4096)
def with_implied(concepts: frozenset[str]) -> frozenset[str]:
    """The concepts and all that they imply."""
    known, new = set(concepts), set(concepts)
    while new:
        new = {implied for concept in new for implied in IMPLIES.get(concept, ())} - known
        known |= new
    return frozenset(known)


def content_words(text: str) -> frozenset[str]:
    """Words that carry meaning of their own: three letters or more, and no stop word."""
    return frozenset(word for word in words_of(text) if len(word) > 2 and word not in _STOP_WORDS)


_CONCEPT_OF = {words_of(phrase): concept for concept, phrases in CONCEPTS.items() for phrase in phrases}
