"""Every protocol by name: where it is from, what it says in one sentence, and which of its numbers a table shows."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A protocol; `headline` are its main metrics, of which a result has some or all."""

    name: str
    source: str
    says: str
    arrays: str
    """What a bundle must hold, or what else the protocol reads."""
    headline: tuple[str, ...]

    def shown(self, found: Collection[str]) -> list[str]:
        """The headline of what a result has; where it has none of it, all but chance."""
        names = [name for name in self.headline if name in found]
        return names or [name for name in found if not name.startswith("chance/")]


_TWO_WAYS = tuple(f"{way}/recall_at_{k}" for way in ("image_to_text", "text_to_image") for k in (1, 5, 10))
_FUSIONRS = (
    *("rgb_to_text", "text_to_rgb", "infrared_to_text", "text_to_infrared", "fused_to_text", "text_to_fused"),
    *("rgb_to_infrared", "infrared_to_rgb", "infrared_to_infrared_text", "infrared_text_to_infrared"),
)
_CLASSES = ("top_1", "top_5", "mean_per_class/top_1")
_PAIRS = tuple(f"{way}/recall_at_{k}" for way in ("rgb_to_infrared", "infrared_to_rgb") for k in (1, 5, 10))
_HIT_UAV = tuple(f"class/{name}/average_precision" for name in ("person", "bicycle", "car", "other vehicle"))
_BOX_QUESTIONS = ("object_presence", "object_count", "group_location", "dominant_object_class")
_SCENE_QUESTIONS = ("scene_class", "scene_presence", "time_of_day")

PROTOCOLS = (
    Protocol(
        name="retrieval-fusionrs",
        source="FusionRS (arXiv 2606.17020)",
        says="RGB, infrared, fused pairs and texts find each other; texts with equal caption keys count as one.",
        arrays="id and two of text, rgb, infrared, fused, infrared_text; caption_key, infrared_caption_key, source",
        headline=("mean_recall_of_12", *(f"{way}/recall_at_10" for way in _FUSIONRS)),
    ),
    Protocol(
        name="retrieval-rs",
        source="RS5M (arXiv 2306.11300), RemoteCLIP (TGRS 2024)",
        says="RSICD and RSITMD with five captions an image; only an image's own captions are right.",
        arrays="id, rgb, text, image_id, caption_key",
        headline=("mean_recall", *_TWO_WAYS),
    ),
    Protocol(
        name="retrieval-rs-dedup",
        source="retrieval-rs, corrected",
        says="The same queries, and a caption that another image shares is right for both.",
        arrays="id, rgb, text, image_id, caption_key",
        headline=("mean_recall", *_TWO_WAYS),
    ),
    Protocol(
        name="retrieval-skyscript",
        source="SkyScript (AAAI 2024), FarSLIP, DOFA-CLIP",
        says="Captions merged by text after 'a satellite image. '; one mean per direction.",
        arrays="id, rgb, text, image_id, caption_key",
        headline=("image_to_text/mean_recall", "text_to_image/mean_recall", *_TWO_WAYS),
    ),
    Protocol(
        name="zero-shot",
        source="RS5M, CLIP, RemoteCLIP, SkyScript, RS-TransCLIP: named by --prompts",
        says="An image is of the class whose averaged prompts it is closest to.",
        arrays="id, label, rgb; text with caption_key (prompts, un-normalised)",
        headline=_CLASSES,
    ),
    Protocol(
        name="zero-shot-transductive",
        source="RS-TransCLIP (arXiv 2409.01883), TransCLIP (NeurIPS 2024)",
        says="All test images classified together, without labels; never compared with single images.",
        arrays="as zero-shot",
        headline=("top_1", "alone/top_1", "mean_per_class/top_1"),
    ),
    Protocol(
        name="zero-shot-infrared",
        source="FusionRS, zero-shot infrared scenes",
        says="The same from infrared images, with three infrared templates.",
        arrays="id, label, infrared; text with caption_key",
        headline=_CLASSES,
    ),
    Protocol(
        name="presence",
        source="FusionRS, HIT-UAV",
        says="Images rank by their cosine to a class: average precision, and whether the best class is shown.",
        arrays="id, label (classes joined by |), infrared; text with caption_key",
        headline=("mean_average_precision", "top_1_hit", *_HIT_UAV),
    ),
    Protocol(
        name="linear-probe",
        source="FusionRS, HIT-UAV, with a wider grid",
        says="Logistic regression per class on frozen embeddings, its strength chosen on validation.",
        arrays="id, label, infrared; bundles of train and validation",
        headline=("mean_average_precision", "top_1_hit", *_HIT_UAV),
    ),
    Protocol(
        name="pair-retrieval",
        source="FusionRS, Caltech Aerial RGB-T",
        says="Aligned images of two sensors find each other, exact pairs only.",
        arrays="id, rgb, infrared",
        headline=("mean_recall", *_PAIRS),
    ),
    Protocol(
        name="fusion",
        source="FusionRS, dual-modal fusion",
        says="RGB and infrared blended by a share that validation chose, beside the model's own fused embedding.",
        arrays="id, rgb, infrared, text, caption_key, optionally fused; a bundle of validation",
        headline=tuple(f"{row}/mean_recall" for row in ("infrared_only", "rgb_only", "mean", "selected", "own_fused")),
    ),
    Protocol(
        name="localization",
        source="AIR-SLT (TGRS 2022), RS5M",
        says="Heat maps of texts over large scenes, scored against the regions that the texts mean.",
        arrays="scenes and anno.json (run only)",
        headline=("rmi", "rsu", "rda", "ras"),
    ),
    Protocol(
        name="captions",
        source="this project, with the metrics of captioning",
        says="A captioner reads RGB, infrared and the pair: overlap with references, facts that are right, and what is "
        "claimed without support.",
        arrays="a captioner (run only)",
        headline=tuple(
            f"{shown}/{name}"
            for name in (
                *("rouge_l", "bleu_4", "meteor_exact_stem", "cider_d", "class_named", "time_right"),
                *("infrared_captions/infrared_cue", "infrared_captions/physical_claim"),
                "infrared_captions/colour_word",
            )
            for shown in ("rgb", "infrared", "pair")
        ),
    ),
    Protocol(
        name="caption-facts",
        source="this project",
        says="A captioner answers balanced questions of what only infrared shows: day or night, bright or dark.",
        arrays="a captioner and rows whose infrared captions say it (run only)",
        headline=(
            *(
                f"{shown}/{kind}"
                for kind in ("time_of_day", "region_brightness", "object_state", "caption/time_of_day")
                for shown in ("rgb", "infrared", "pair")
            ),
            *("swapped/caption_changed", "swapped/time_followed"),
        ),
    ),
    Protocol(
        name="captioning",
        source="COCO caption evaluation (arXiv 1504.00325), FusionRS caption benchmark",
        says="A file of captions against references: BLEU, METEOR, ROUGE-L, CIDEr, and the FusionRS scores.",
        arrays="predictions and references (run only)",
        headline=(
            *("bleu_1", "bleu_4", "meteor", "meteor_exact_stem", "rouge_l", "spice", "cider", "cider_d"),
            *("fusionrs/rouge_l", "fusionrs/lexical_f1"),
        ),
    ),
    Protocol(
        name="vqa",
        source="FusionRS, HIT-UAV questions, with baselines that see no image",
        says="Answers of a captioner (run answers), or a file of them (run vqa): exact match, and what a parser that "
        "tolerates format reads, beside blind answers.",
        arrays="a captioner, or predictions and questions (run only)",
        headline=(
            *("accuracy", "accuracy_as_published", "exact_match", "token_f1", "unparsed"),
            *(f"{kind}/accuracy" for kind in (*_BOX_QUESTIONS, *_SCENE_QUESTIONS)),
            *(f"baseline/{name}/accuracy" for name in ("constant_per_type", "majority", "blind")),
        ),
    ),
    Protocol(
        name="text-audit",
        source="FusionRS, audit of generated text, with word lists of our own",
        says="What generated texts say of the infrared, what they claim without support, and their form.",
        arrays="predictions and a manifest of rows (run only)",
        headline=(
            *("infrared_cue", "physical_claim", "colour_word", "refusal", "no_text"),
            *("distinct_texts", "commonest_text", "copy_of_a_reference", "at_most_15_words", "at_least_25_words"),
            "words",
        ),
    ),
    Protocol(
        name="translation",
        source="this project; SSIM of Wang and others (IEEE TIP 2004)",
        says="Infrared made from RGB against the measured infrared: PSNR and SSIM, beside answers without a network.",
        arrays="a translator and a built dataset of measured pairs (run only)",
        headline=tuple(
            f"{answer}/{name}"
            for name in ("psnr", "ssim")
            for answer in ("translated", "linear", "luminance", "constant")
        ),
    ),
)


def protocol_named(name: str) -> Protocol:
    """The protocol of a name, or of a variant such as `zero-shot:rs5m`."""
    for protocol in PROTOCOLS:
        if protocol.name == name.split(":")[0]:
            return protocol
    raise ValueError(f"{name!r} is no protocol; `python -m evaluation list` shows them.")
