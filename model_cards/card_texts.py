"""The prose of the model cards. Text between braces is filled in by `card_model.py`."""

BODY = """
# {title}

{summary}

## How to use it

{use}

## Example

{example}

The Hub shows a live widget only where an inference provider hosts the model, and providers choose which; code from a
repository is rarely among them. So these outputs are static: what this model itself gave when it was published.

{about}## Results

{results}

## Training

{training}

## Training data

{data}

## Limits

{limits}

## Hardware and energy

{energy}

## What is in this repository

Weights in safetensors, the code that `trust_remote_code=True` runs, {shipped}{records}the images and outputs of the
example (`examples/`), and `manifest.json` with the SHA-256 of every file. The SHA-256 over the weights is
`{weights}`; results of other weights are refused when a card is made.

## Licence

{license}

## Citation

{citation}
"""

SUMMARIES = {
    "rsclip": "A CLIP for remote sensing that embeds RGB images, infrared images and texts in one space{fusing}. "
    "Either image may be missing.",
    "rscaptioner": "Describes a remote-sensing scene from an RGB image, an infrared image, or an aligned pair of the "
    "two: a Llava-style model with two image inputs.",
    "rstranslator": "Turns an RGB image into what an infrared sensor might have shown{band}: a U-Net for images "
    "of any size.",
}

USES = {
    "rsclip": """```python
import torch
from huggingface_hub import hf_hub_download
from PIL import Image
from transformers import AutoModel, AutoProcessor

repo = {repo}
model = AutoModel.from_pretrained(repo, {pin}trust_remote_code=True).eval()
processor = AutoProcessor.from_pretrained(repo, {pin}trust_remote_code=True)
rgb = Image.open(hf_hub_download(repo, "examples/rgb.png"))
infrared = Image.open(hf_hub_download(repo, "examples/infrared.png"))

texts = {labels}
inputs = processor(images=rgb, infrared=infrared, text=texts)
with torch.inference_mode():
    output = model(**inputs)
scores = output.{logits}.softmax(dim=-1)[0].tolist()
print(dict(zip(texts, scores)))
```

Or through a pipeline, of RGB images alone or, with this repository's own pipeline, of pairs:

```python
from transformers import pipeline

classify = pipeline("zero-shot-image-classification", repo, {pin}trust_remote_code=True)
print(classify(rgb, candidate_labels=texts, hypothesis_template="{{}}"))
classify_pairs = pipeline("rgb-infrared-classification", repo, {pin}trust_remote_code=True)
print(classify_pairs({{"image": rgb, "infrared": infrared}}, texts{view}))
```""",
    "rscaptioner": """```python
from huggingface_hub import hf_hub_download
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

repo = {repo}
model = AutoModelForImageTextToText.from_pretrained(repo, {pin}trust_remote_code=True).eval()
processor = AutoProcessor.from_pretrained(repo, {pin}trust_remote_code=True)
rgb = hf_hub_download(repo, "examples/rgb.png")
infrared = hf_hub_download(repo, "examples/infrared.png")

content = [
    {{"type": "image", "path": rgb}},
    {{"type": "infrared", "path": infrared}},
    {{"type": "text", "text": {instruction}}},
]
options = {{"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}}
inputs = processor.apply_chat_template([{{"role": "user", "content": content}}], **options)
tokens = model.generate(**inputs, max_new_tokens={tokens}, do_sample=False)[0, inputs["input_ids"].shape[1] :]
print(processor.decode(tokens, skip_special_tokens=True).strip())
```

Or through this repository's own pipeline; leave an image out to caption the other alone:

```python
from transformers import pipeline

caption = pipeline("rgb-infrared-captioning", repo, {pin}trust_remote_code=True)
pair = {{"image": Image.open(rgb), "infrared": Image.open(infrared)}}
print(caption(pair, max_new_tokens={tokens})["generated_text"])
```""",
    "rstranslator": """```python
import torch
from huggingface_hub import hf_hub_download
from PIL import Image
from transformers import AutoImageProcessor, AutoModel

repo = {repo}
model = AutoModel.from_pretrained(repo, {pin}trust_remote_code=True).eval()
processor = AutoImageProcessor.from_pretrained(repo, {pin}trust_remote_code=True)
rgb = Image.open(hf_hub_download(repo, "examples/rgb.png"))

with torch.inference_mode():
    infrared = model(**processor(images=rgb)).infrared
pixels = model.to_pixels(infrared)[0, 0].numpy()
Image.fromarray(pixels.astype("{dtype}")).save("translated.png")
```""",
}

LIMITS = {
    "rsclip": (
        "Infrared images are read by the scaling rule in `processor_config.json`; counts of another sensor may "
        "need another.",
        "An embedding of infrared says how the scene looks in that band. It is not a measurement of temperature.",
        "Overhead imagery only; photographs from the ground are outside of what it was trained for.",
        "Scores are cosines at a learnt temperature, not probabilities that a thing is there.",
        "Not for decisions about persons, and not for targeting.",
    ),
    "rscaptioner": (
        "Captions can be wrong, name what is not there, or leave out what is; the results above say how often.",
        "What a caption says of heat it infers from brightness. It is not a measurement of temperature.",
        "From an RGB image alone, anything said of infrared is a guess.",
        "Overhead imagery and English only.",
        "Not for decisions about persons, and not for targeting.",
    ),
    "rstranslator": (
        "**Translated infrared is not temperature.** It is a guess, from colours, at how a sensor might have shown the "
        "scene; what only infrared shows (a running engine, a filled tank, day or night) is not in the RGB image, and "
        "is not in the translation.",
        "It imitates the sensors, the places and the seasons of its training pairs; of others it is not even a "
        "good guess.",
        "Pairs made with it carry `infrared_origin` `translated`, and scores on them are never reported as scores on "
        "measured infrared.",
        "Not for radiometry, not for decisions about persons, and not for targeting.",
    ),
}

TRANSLATED_DATA = (
    "Where the infrared of the training rows is `translated` or `simulated`, the model has seen no heat at all: "
    "**translated infrared is not temperature.**"
)

CITATION = """The model and its code:

```bibtex
@software{rsclip,
  title = {RSCLIP: open RGB-infrared-text foundation models for remote sensing},
  url = {https://github.com/ORG/rsclip},
  license = {Apache-2.0}
}
```

The systems it builds on: RS5M and GeoRSCLIP ([arXiv 2306.11300](https://arxiv.org/abs/2306.11300)); FusionRS
([arXiv 2606.17020](https://arxiv.org/abs/2606.17020))."""

SHIPPED = "a handler for Inference Endpoints (`handler.py`), pipelines, "
RECORDS = "the results JSON behind every number of the tables (`results/`), "
SIMULATED_DATA = (
    "**Every row was simulated; nothing in them was observed.** What the model does with real images is not known from "
    "scores on such data."
)
NO_RESULTS = "None were given when this card was made, so it claims none."
NO_RUN = "The record of the run was not given, so this card says nothing of it."
EXAMPLE_SIMULATED = (
    "The two images are simulated (the scene simulator of RSCLIP); nothing in them was observed. "
    "![RGB](examples/rgb.png) ![infrared](examples/infrared.png)"
)
EXAMPLE_GIVEN = "![RGB](examples/rgb.png) ![infrared](examples/infrared.png) Licence of the images: {license}."
