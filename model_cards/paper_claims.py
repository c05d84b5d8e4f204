"""The claims of both papers, and by which differences of our studies each stands or falls."""

from .claims import Claim, Difference, Expected

SIMULATED, REAL = "infrared-aware-text", "translated-infrared"
BOTH = {SIMULATED: "simulated", REAL: "real with translated infrared"}
GREY, TWICE = "grey as infrared", "conventional twice"
CITIES, FOREST = "near infrared, unseen cities", "near infrared, forest"
INFRARED_TO_TEXT = "infrared_to_text/recall_at_10"
INFRARED_TO_ITS_TEXT = "infrared_to_infrared_text/recall_at_10"
ITS_TEXT_TO_INFRARED = "infrared_text_to_infrared/recall_at_10"
RGB_TO_INFRARED = "rgb_to_infrared/recall_at_10"
RGB_TO_TEXT = "rgb_to_text/recall_at_10"
FUSED_TO_TEXT = "fused_to_text/recall_at_10"


def _over(study: str, arm: str, over: str, metric: str, of: str, expected: Expected = "more") -> Difference:
    return Difference(study=study, arm=arm, over=over, metric=metric, of=of, expected=expected)


def _within(study: str, arm: str, metric: str, over_metric: str, of: str) -> Difference:
    return Difference(study=study, arm=arm, metric=metric, over_metric=over_metric, of=of)


def _on_both(arm: str, over: str, metric: str, of: str, expected: Expected = "more") -> tuple[Difference, ...]:
    return tuple(_over(study, arm, over, metric, f"{rows}: {of}", expected) for study, rows in BOTH.items())


FUSIONRS = (
    Claim(
        paper="FusionRS",
        says="Infrared-aware captions are crucial (no released model was trained with them)",
        tests=(
            *_on_both("infrared-aware", TWICE, INFRARED_TO_ITS_TEXT, "infrared → infrared-aware text"),
            *_on_both("infrared-aware", TWICE, ITS_TEXT_TO_INFRARED, "infrared-aware text → infrared"),
            *_on_both("infrared-aware", TWICE, INFRARED_TO_TEXT, "infrared → conventional text"),
        ),
    ),
    Claim(
        paper="FusionRS",
        says="Training on three modalities beats a grey copy in place of infrared",
        tests=(
            *_on_both("trimodal", GREY, INFRARED_TO_TEXT, "infrared → text"),
            *_on_both("trimodal", GREY, RGB_TO_INFRARED, "RGB → infrared"),
        ),
    ),
    Claim(
        paper="FusionRS",
        says="Translated infrared is nearer to a sensor's than grey values are (here near infrared, our U-Net)",
        tests=tuple(
            _within(
                "translator",
                "naip",
                f"{place}/translated/{score}",
                f"{place}/luminance/{score}",
                f"{words}, {place}",
            )
            for place in ("unseen cities", "forest")
            for score, words in (("psnr", "PSNR in dB"), ("ssim", "SSIM in %"))
        ),
    ),
    Claim(
        paper="FusionRS",
        says="What is learnt from translated infrared carries over to pairs of real sensors",
        tests=(
            _over(REAL, "trimodal", GREY, f"{CITIES}/{RGB_TO_INFRARED}", "RGB → near infrared in cities, over grey"),
            _over(REAL, "trimodal", GREY, f"{FOREST}/{RGB_TO_INFRARED}", "in forest, over grey"),
            _over(REAL, "trimodal", "RGB only", f"{CITIES}/{RGB_TO_INFRARED}", "in cities, over RGB only"),
            _over(REAL, "trimodal", "RGB only", f"{FOREST}/{RGB_TO_INFRARED}", "in forest, over RGB only"),
            _over("sensors", "translated", GREY, RGB_TO_INFRARED, "taught on the translator's own rows, over grey"),
        ),
    ),
    Claim(
        paper="FusionRS",
        says="On thermal images from drones a grey copy is as good as translated infrared (linear probe)",
        tests=(
            _over(
                REAL,
                "trimodal",
                GREY,
                "thermal, linear probe/mean_average_precision",
                "mean average precision",
                "as much",
            ),
        ),
    ),
    Claim(
        paper="FusionRS",
        says="Zero-shot presence on thermal images improves over RGB only",
        tests=(
            _over(REAL, "trimodal", "RGB only", "thermal, presence/mean_average_precision", "mean average precision"),
        ),
    ),
    Claim(
        paper="FusionRS",
        says="A copy of the RGB image as infrared teaches no more than RGB alone",
        tests=(
            *_on_both("RGB as infrared", "RGB only", RGB_TO_INFRARED, "RGB → infrared", "no more"),
            *_on_both("RGB as infrared", "RGB only", RGB_TO_TEXT, "RGB → text", "no more"),
        ),
    ),
    Claim(
        paper="FusionRS",
        says="The loss between the two images is what makes them find each other",
        tests=_on_both("trimodal", "no image pair", RGB_TO_INFRARED, "RGB → infrared"),
    ),
    Claim(
        paper="FusionRS",
        says="Both images together say more than one (scripts were released, results were not)",
        tests=(
            *(
                _within(
                    study,
                    "infrared-aware, fused",
                    FUSED_TO_TEXT,
                    RGB_TO_TEXT,
                    f"{rows}, one encoder: fused → text over RGB → text",
                )
                for study, rows in BOTH.items()
            ),
            _within("towers", "adapted, gated", FUSED_TO_TEXT, RGB_TO_TEXT, "simulated, adapted encoder: the same"),
        ),
    ),
    Claim(
        paper="FusionRS",
        says="A captioner of both images describes what the infrared shows (its own is shown one)",
        tests=tuple(
            _within(
                study,
                arm,
                f"pair/{metric}",
                f"{shown}/{metric}",
                f"simulated: {words}, shown the pair over {shown.replace('rgb', 'RGB')} alone",
            )
            for study, arm, metric, words in (
                ("captioner", "trained on all three", "infrared_captions/rouge_l", "ROUGE-L of infrared captions"),
                ("captioner", "trained on all three", "time_right", "day or night is right"),
                ("captioner", "trained on all three", "class_named", "class is named"),
                ("captioner-facts", "debug-facts", "time_of_day", "asked day or night, towers trained"),
                ("captioner-facts", "debug-facts", "region_brightness", "asked bright or dark, towers trained"),
            )
            for shown in ("rgb", "infrared")
        ),
    ),
    Claim(
        paper="FusionRS",
        says="Infrared-aware training text rids a captioner of colours that infrared cannot show",
        tests=(
            _over(
                "captioner-text",
                "scene captions",
                "infrared captions",
                "infrared/infrared_captions/colour_word",
                "real with translated infrared: texts that name a colour, learnt from scene captions",
            ),
            _over(
                "captioner-text",
                "scene captions",
                "both",
                "infrared/infrared_captions/colour_word",
                "the same over both kinds, by instruction",
            ),
        ),
    ),
    Claim(
        paper="FusionRS",
        says="One captioner of both kinds of text, by instruction, is as good at each as one of that kind alone",
        tests=(
            _over("captioner-text", "both", "scene captions", "pair/rouge_l", "ROUGE-L of scene captions", "as much"),
            _over(
                "captioner-text",
                "both",
                "infrared captions",
                "pair/infrared_captions/rouge_l",
                "ROUGE-L of infrared captions",
                "as much",
            ),
        ),
    ),
    Claim(
        paper="FusionRS",
        says="Infrared-aware training text rids a captioner of claims about heat",
        untested="no text at hand claims heat of an image, so no captioner here learnt to; none ever did",
    ),
    Claim(
        paper="FusionRS",
        says="Detection and segmentation of real infrared improve after tuning",
        untested="neither the code of those detectors nor, for three of the four sets, the images are at hand",
    ),
)
RS5M = (
    Claim(
        paper="RS5M",
        says="More data is better, from an eighth to all of it",
        tests=tuple(
            _over("data-scale", more, less, RGB_TO_TEXT, f"simulated: RGB → text, {more} over {less}")
            for less, more in (("1/8", "1/4"), ("1/4", "1/2"), ("1/2", "all"), ("1/8", "all"))
        ),
    ),
    Claim(
        paper="RS5M",
        says="Full tuning beats every adapter (here of four)",
        tests=tuple(
            _over("tuning", "full", arm, RGB_TO_TEXT, f"real, one learning rate for all: RGB → text over {arm}")
            for arm in ("LoRA", "bottleneck", "prefix", "UniPELT")
        ),
    ),
    Claim(
        paper="RS5M",
        says="Every adapter beats the model before tuning (here of four)",
        tests=tuple(
            _over("tuning", arm, "base", RGB_TO_TEXT, f"real, one learning rate for all: RGB → text, {arm}")
            for arm in ("LoRA", "bottleneck", "prefix", "UniPELT")
        ),
    ),
    Claim(
        paper="RS5M",
        says="A frozen image tower costs more than a frozen text tower",
        tests=(
            _over("tuning", "text tower frozen", "image tower frozen", RGB_TO_TEXT, "real: RGB → text"),
            _over("tuning", "text tower frozen", "image tower frozen", "text_to_rgb/recall_at_10", "real: text → RGB"),
        ),
    ),
    Claim(
        paper="RS5M",
        says="Domain tuning improves zero-shot classes and semantic localization of a large pretrained CLIP",
        untested="no pretrained weights and no AIR-SLT scenes could be had where the studies ran",
    ),
    Claim(
        paper="RS5M",
        says="Of a machine's captions, the one that turning the image changes least is better than the most similar",
        tests=tuple(
            _over(
                "caption-choice",
                "least change of turns",
                "most similar",
                metric,
                f"simulated, one of five kept of twenty: {words}",
            )
            for metric, words in (("class_named", "class is named"), ("rouge_l", "ROUGE-L"))
        ),
    ),
    Claim(
        paper="RS5M",
        says="Captions from metadata alone teach less than none (where most overflow the 77 tokens)",
        untested="fMoW, BigEarthNet and MillionAID are not at hand",
    ),
    Claim(
        paper="RS5M",
        says="Captions that are longer than the text tower reads teach less (all of fMoW's are, behind their metadata)",
        tests=tuple(
            _over("text-limit", "64 tokens", shorter, RGB_TO_TEXT, f"simulated: RGB → text, all read over {shorter}")
            for shorter in ("24 tokens", "12 tokens")
        ),
    ),
    Claim(
        paper="RS5M",
        says="Captions of web images are best kept to the most relevant 80 to 90 %",
        untested="needs web images with noisy captions, which no set at hand has",
    ),
)
CLAIMS = (*FUSIONRS, *RS5M)
