"""The eleven public image-text sets that RS5M searches (arXiv 2306.11300, Table VII): columns, licences, citations.

The images belong to the sites they stand on, so their licence is unknown but where a set states it row by row.
What a set publishes as a perceptual hash or MD5 is not carried on: rows hold SHA-256 only.
"""

from dataclasses import dataclass
from typing import Literal

from .source_row import UNKNOWN_LICENSE


@dataclass(frozen=True, kw_only=True)
class WebSource:
    """How one set writes its pairs of address and caption; change columns with `dataclasses.replace`."""

    name: str
    """Name of the source in the rows; that of the released RS5M, where it names the set."""
    url_column: str = "url"
    caption_columns: tuple[str, ...] = ("caption",)
    """Columns with one caption or a list of them; all that are not empty are taken, in this order."""
    caption_kind: str = "web"
    id_column: str | None = None
    """A column that names each row for good; without one, a hash of the address does."""
    unsafe_columns: tuple[str, ...] = ()
    """Columns that mark unsafe images, by the label NSFW or a probability; a file must have one of them."""
    language_column: str | None = None
    languages: tuple[str, ...] = ("en",)
    """What the column of languages may say."""
    license_column: str | None = None
    """Column with the address of a Creative Commons licence."""
    author_column: str | None = None
    latitude_column: str | None = None
    longitude_column: str | None = None
    time_column: str | None = None
    """When the image was taken, as `YYYY-MM-DD...`; of it, the date is used. Not when the image was posted."""
    sha256_column: str | None = None
    endings: tuple[str, ...] = (".parquet", ".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".tsv", ".tsv.gz")
    """Files of the folder that are read."""
    tsv_columns: tuple[str, ...] = ()
    """Names of the columns of TSV files that have no header."""
    tsv_quoted: bool = True
    """Whether fields of TSV files are quoted as in CSV."""
    percent_encoded: bool = False
    """Captions may be written as in an address (`a+b%21`); one with a blank in it is not."""
    layout: Literal["records", "parallel_lists", "visual_genome"] = "records"
    """`records`: one object or line a pair. The others are the forms in which SBU and Visual Genome publish."""
    array_key: str | None = None
    """Key of the array of records in a JSON file."""
    caption_license: str = UNKNOWN_LICENSE
    """SPDX identifier of the licence of the captions and addresses."""
    attribution: str = ""
    citation: str = ""
    homepage: str = ""
    version: str = ""

    def __post_init__(self) -> None:
        if not self.name or not self.url_column or not self.caption_columns:
            raise ValueError(f"{self} names no source, no column of addresses, or no column of captions.")

    @property
    def optional_columns(self) -> tuple[str, ...]:
        """Columns that are read where a file has them."""
        named = (
            self.license_column,
            self.author_column,
            self.latitude_column,
            self.longitude_column,
            self.time_column,
            self.sha256_column,
        )
        return (*(column for column in named if column), *self.unsafe_columns)

    @property
    def required_columns(self) -> tuple[str, ...]:
        """Columns without which a file is not of this set."""
        named = (self.url_column, *self.caption_columns, self.id_column, self.language_column)
        return tuple(column for column in named if column)


_YFCC100M_COLUMNS = (
    *("photoid", "uid", "unickname", "datetaken", "dateuploaded", "capturedevice", "title", "description"),
    *("usertags", "machinetags", "longitude", "latitude", "accuracy", "pageurl", "downloadurl", "licensename"),
    *("licenseurl", "serverid", "farmid", "secret", "secretoriginal", "ext", "marker"),
)

_SOURCES = (
    WebSource(
        name="laion2b",
        url_column="URL",
        caption_columns=("TEXT",),
        # The second column is that of the edition joined with predictions.
        unsafe_columns=("NSFW", "punsafe"),
        caption_license="CC-BY-4.0",
        attribution="LAION-5B (laion2B-en)",
        citation="Schuhmann et al., LAION-5B, NeurIPS 2022, arXiv:2210.08402",
        homepage="https://huggingface.co/datasets/laion/laion2B-en",
        version="laion2B-en, 2022",
    ),
    WebSource(
        name="laion400m",
        url_column="URL",
        caption_columns=("TEXT",),
        unsafe_columns=("NSFW", "punsafe"),
        license_column="LICENSE",
        caption_license="CC-BY-4.0",
        attribution="LAION-400M",
        citation="Schuhmann et al., LAION-400M, 2021, arXiv:2111.02114",
        homepage="https://laion.ai/laion-400-open-dataset/",
        version="2021",
    ),
    WebSource(
        name="laioncoco",
        url_column="URL",
        # `TEXT` is the web caption of the same image in laion2b; what this set adds was written by BLIP.
        caption_columns=("top_caption",),
        caption_kind="machine",
        unsafe_columns=("punsafe",),
        caption_license="CC-BY-4.0",
        attribution="LAION-COCO",
        citation="Schuhmann et al., LAION COCO: 600M synthetic captions from LAION2B-en, 2022",
        homepage="https://huggingface.co/datasets/laion/laion-coco",
        version="2022",
    ),
    WebSource(
        name="coyo700m",
        caption_columns=("text",),
        id_column="id",
        unsafe_columns=("nsfw_score_opennsfw2", "nsfw_score_gantman"),
        caption_license="CC-BY-4.0",
        attribution="COYO-700M, Kakao Brain",
        citation="Byeon et al., COYO-700M: Image-Text Pair Dataset, 2022",
        homepage="https://github.com/kakaobrain/coyo-dataset",
        version="1.0.0",
    ),
    WebSource(
        name="cc3m",
        endings=(".tsv", ".tsv.gz"),
        tsv_columns=("caption", "url"),
        tsv_quoted=False,
        caption_license="LicenseRef-Conceptual-Captions",
        attribution="Conceptual Captions, Google",
        citation="Sharma et al., Conceptual Captions, ACL 2018",
        homepage="https://ai.google.com/research/ConceptualCaptions",
        version="2018",
    ),
    WebSource(
        name="cc12m",
        endings=(".tsv", ".tsv.gz"),
        tsv_columns=("url", "caption"),
        tsv_quoted=False,
        caption_license="LicenseRef-Conceptual-Captions",
        attribution="Conceptual 12M, Google",
        citation="Changpinyo et al., Conceptual 12M, CVPR 2021, arXiv:2102.08981",
        homepage="https://github.com/google-research-datasets/conceptual-12m",
        version="2021",
    ),
    WebSource(
        name="sbu",
        # The records are made of the two lists `image_urls` and `captions`, or of two text files.
        layout="parallel_lists",
        endings=(".json", "_urls.txt"),
        attribution="SBU Captioned Photo Dataset",
        citation="Ordonez et al., Im2Text, NeurIPS 2011",
        homepage="https://www.cs.rice.edu/~vo9/sbucaptions/",
        version="2011",
    ),
    WebSource(
        name="wit",
        url_column="image_url",
        caption_columns=("caption_reference_description",),
        language_column="language",
        endings=(".tsv.gz", ".tsv"),
        caption_license="CC-BY-SA-3.0",
        attribution="Wikipedia-based Image Text, Google; Wikipedia",
        citation="Srinivasan et al., WIT, SIGIR 2021, arXiv:2103.01913",
        homepage="https://github.com/google-research-datasets/wit",
        version="wit_v1",
    ),
    WebSource(
        name="yfcc15m",
        url_column="downloadurl",
        caption_columns=("title", "description"),
        id_column="photoid",
        license_column="licenseurl",
        author_column="unickname",
        latitude_column="latitude",
        longitude_column="longitude",
        time_column="datetaken",
        tsv_columns=_YFCC100M_COLUMNS,
        tsv_quoted=False,
        percent_encoded=True,
        attribution="Flickr, through YFCC100M",
        citation="Thomee et al., YFCC100M, CACM 2016, arXiv:1503.01817; subset of Radford et al., arXiv:2103.00020",
        homepage="https://github.com/openai/CLIP/blob/main/data/yfcc100m.md",
        version="subset of 14,829,396 photos, 2021",
    ),
    WebSource(
        name="redcaps",
        id_column="image_id",
        endings=(".json",),
        array_key="annotations",
        caption_license="CC-BY-4.0",
        attribution="RedCaps; Reddit",
        citation="Desai et al., RedCaps, NeurIPS 2021, arXiv:2111.11431",
        homepage="https://redcaps.xyz",
        version="1.0",
    ),
    WebSource(
        name="vg",
        # The records are made of each image's address and all its region descriptions.
        caption_columns=("captions",),
        caption_kind="human",
        id_column="image_id",
        layout="visual_genome",
        endings=("region_descriptions.json",),
        caption_license="CC-BY-4.0",
        attribution="Visual Genome",
        citation="Krishna et al., Visual Genome, IJCV 2017, arXiv:1602.07332",
        homepage="https://visualgenome.org",
        version="region descriptions 1.2",
    ),
)
WEB_SOURCES = {source.name: source for source in _SOURCES}
# For pairs of one's own: `replace(WEB, name=..., url_column=..., caption_columns=...)`.
WEB = WebSource(name="web")
