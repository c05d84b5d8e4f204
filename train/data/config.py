"""What the training programs read, configured alike; a field's text is its help on the command line."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What to train on."""

    path: str = "fusionrs"
    """Folder the dataset builder wrote, or a dataset id on the Hub."""
    train_split: str = "train"
    """Split to train on."""
    workers: int = 1
    """Processes that decode images beside the training process; 0 decodes inside it."""
    streaming: bool = False
    """Fetch images when they are needed, from the Hub or the folder, in place of a copy of the dataset on this disk."""
    stream_gigabytes: float = 20.0
    """Disk space for images that are streamed: at least twice what the row groups of one step take."""

    def __post_init__(self) -> None:
        if self.workers < 0 or self.stream_gigabytes <= 0:
            raise ValueError(
                f"data.workers={self.workers} must not be negative, data.stream_gigabytes={self.stream_gigabytes} must "
                "be positive."
            )
