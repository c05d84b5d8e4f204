"""What a dataset card says that does not depend on the build."""

INFRARED_LIMITS = """\
- **No infrared image here is a temperature.** `infrared_origin` says of every row where its infrared came from:
  `sensor` (observed), `simulated` (computed from a scene), `luminance` (the grey values of the RGB image) or
  `translated:NAME@REVISION` (painted by a model from the RGB image). Translated and simulated infrared, and luminance,
  hold no measurement at all; a model trained on them has not seen how warm anything was.
- A translated infrared image can show only what its RGB image, and the model's habits, already say.
- `infrared_band` is the band that the image stands for; sensor images of different cameras do not share a scale.
"""
COMMON_LIMITS = """\
- Captions of the web and of machines are wrong in places; `class_name` and metadata are as good as their source.
- Near duplicates are found by perceptual hashes and equal captions. Two pictures of one place that differ more than
  that may lie in different splits.
- Places, seasons, sensors and languages are those of the sources, not those of the Earth.
"""
TAKEDOWN = """\
## Removal

You hold rights in an image or a text here, or see something that should not be here (a person, a private address,
anything unlawful)? Write to {contact} and name the `id` or the address (`url`). The row is taken out of the next
revision, its identifier goes on a list of exclusions that every later build obeys, and no proof beyond good reason
is asked for. Those who built a copy should build it again from the new revision.
"""
BODY = """\
# {title}

{summary}.{commercial}

## Load it

```python
from datasets import load_dataset

{load}
```

{configs}

## Splits

{splits}

A leak group holds rows that may give each other away: near-duplicate images or equal captions. A group lies in one
split only. Groups are drawn by the hash of their name; where the mean number of rows per group of a held-out split
differs from that of train, its rows differ too.

## What is not here, and why

{withheld}

## How the rows were chosen

{funnel}

## Sources

{sources}

{credits}

## Limits

{limits}
{takedown}
## How it was made

Code revision {revision}; {versions}. `manifest.json` holds the configuration, every stage with its counts, and rows,
bytes and SHA-256 of every shard.
"""
