"""The claims of both papers, and by which differences of our studies each stands or falls."""

from .claims import Claim, Difference

SIMULATED = "infrared-aware-text"
INFRARED_TO_TEXT = "infrared_to_text/recall_at_10"
INFRARED_TO_ITS_TEXT = "infrared_to_infrared_text/recall_at_10"
RGB_TO_INFRARED = "rgb_to_infrared/recall_at_10"
RGB_TO_TEXT = "rgb_to_text/recall_at_10"


def _arms(study: str, arm: str, over: str, metric: str, of: str, *, is_equal: bool = False) -> Difference:
    return Difference(study=study, arm=arm, over=over, metric=metric, of=of, is_equal=is_equal)


CLAIMS = (
    Claim(
        paper="FusionRS",
        says="Infrared-aware captions are crucial (no released model was trained with them)",
        tests=(
            _arms(
                SIMULATED,
                "infrared-aware",
                "conventional twice",
                INFRARED_TO_ITS_TEXT,
                "simulated, to find infrared-aware text",
            ),
            _arms(
                SIMULATED,
                "infrared-aware",
                "conventional twice",
                INFRARED_TO_TEXT,
                "simulated, to find conventional text",
            ),
        ),
    ),
    Claim(
        paper="FusionRS",
        says="Training on three modalities beats a grey copy in place of infrared",
        tests=(
            _arms(SIMULATED, "trimodal", "grey as infrared", INFRARED_TO_TEXT, "simulated, infrared → text"),
            _arms(SIMULATED, "trimodal", "grey as infrared", RGB_TO_INFRARED, "simulated, RGB → infrared"),
        ),
    ),
    Claim(
        paper="FusionRS",
        says="A copy of the RGB image as infrared teaches no more than RGB alone",
        tests=(
            _arms(
                SIMULATED,
                "RGB as infrared",
                "RGB only",
                RGB_TO_INFRARED,
                "simulated, RGB → infrared",
                is_equal=True,
            ),
            _arms(SIMULATED, "RGB as infrared", "RGB only", RGB_TO_TEXT, "simulated, RGB → text", is_equal=True),
        ),
    ),
    Claim(
        paper="FusionRS",
        says="The loss between the two images is what makes them find each other",
        tests=(_arms(SIMULATED, "trimodal", "no image pair", RGB_TO_INFRARED, "simulated, RGB → infrared"),),
    ),
    Claim(
        paper="FusionRS",
        says="Both images together say more than one (scripts were released, results were not)",
        tests=(
            Difference(
                study=SIMULATED,
                arm="infrared-aware, fused",
                metric="fused_to_text/recall_at_10",
                over_metric=RGB_TO_TEXT,
                of="simulated, fused → text over RGB → text",
            ),
        ),
    ),
    Claim(
        paper="FusionRS",
        says="Detection and segmentation of real infrared improve after tuning",
        untested="neither the code of those detectors nor, for three of the four sets, the images are at hand",
    ),
    Claim(
        paper="RS5M",
        says="Domain tuning improves zero-shot classes and semantic localization of a large pretrained CLIP",
        untested="no pretrained weights and no AIR-SLT scenes could be had where the studies ran",
    ),
    Claim(
        paper="RS5M",
        says="Captions of web images are best kept to the most relevant 80 to 90 %",
        untested="needs web images with noisy captions, which no set at hand has",
    ),
)
