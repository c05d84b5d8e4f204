"""Programs that make the RS5M and FusionRS datasets: sources in, Parquet shards, manifest and card out."""

from .registered_datasets import register

register()
