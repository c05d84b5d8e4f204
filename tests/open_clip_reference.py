"""Builds a random CLIP with open_clip, in a process of its own, and writes its state dict and features.

    python tests/open_clip_reference.py FOLDER ACTIVATION VISION_WIDTH

open_clip imports torchvision, whose published builds do not match a CPU torch; declaring the operators that it
expects is enough, since no CLIP uses them.
"""

import sys
from pathlib import Path

import torch

FOLDER, ACTIVATION, WIDTH = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
sys.path.insert(0, str(Path(__file__).parents[1] / ".cache" / "open_clip"))

UNUSED = ["roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool", "deform_conv2d"]
library = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
for name in UNUSED:
    library.define(f"{name}(Tensor x) -> Tensor")
    library.define(f"_{name}_backward(Tensor x) -> Tensor")

from open_clip.model import CLIP  # noqa: E402

torch.manual_seed(0)
head_width = {1280: 80}.get(WIDTH, 64)
model = CLIP(
    embed_dim=24,
    vision_cfg={
        "image_size": 32,
        "layers": 2,
        "width": WIDTH,
        "head_width": head_width,
        "patch_size": 8,
        "mlp_ratio": 2,
    },
    text_cfg={"context_length": 20, "vocab_size": 99, "width": 128, "heads": 2, "layers": 2},
    quick_gelu=ACTIVATION == "quick_gelu",
).eval()
for parameter in model.parameters():
    if parameter.ndim == 1:
        torch.nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.1)
model.logit_scale.data.fill_(3.0)

generator = torch.Generator().manual_seed(1)
images = torch.randn(3, 3, 32, 32, generator=generator)
texts = torch.randint(5, 97, (3, 20), generator=generator)
for row, length in enumerate((4, 9, 20)):
    texts[row, length - 1] = 98  # end of text
    texts[row, length:] = 0
with torch.no_grad():
    features = {"image": model.encode_image(images), "text": model.encode_text(texts)}

FOLDER.mkdir(parents=True, exist_ok=True)
torch.save(model.state_dict(), FOLDER / "bare.pt")
wrapped = {"epoch": 1, "state_dict": {f"module.{name}": value for name, value in model.state_dict().items()}}
torch.save(wrapped, FOLDER / "training.pt")
torch.save({"images": images, "texts": texts, **features}, FOLDER / "features.pt")
