"""The 33 texts that RS5M compares an image with to see whether it is one of remote sensing.

Source: Zhang et al., "RS5M and GeoRSCLIP", arXiv 2306.11300: 11 patterns for each of three nouns. The paper prints no
articles; those here are of the authors' zero-shot templates ("an aerial image of ...", "a bad aerial image of ..."),
which share ten of the patterns. Plain is the noun alone.
"""

CITATION = "arXiv:2306.11300"
PATTERNS = (
    "plain",
    "low resolution",
    "bad",
    "cropped",
    "bright",
    "dark",
    "close-up",
    "black and white",
    "jpeg corrupted",
    "blurry",
    "good",
)
# With the article of the noun alone.
NOUNS = (("a", "remote sensing image"), ("an", "aerial image"), ("a", "satellite image"))

RELEVANCE_PROMPTS = tuple(
    f"{article} {noun}" if pattern == "plain" else f"a {pattern} {noun}"
    for article, noun in NOUNS
    for pattern in PATTERNS
)
