"""Loads the exported folders in a fresh process through the Auto classes, and compares with this package."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from evaluation.rows import load_split

# Runs with and without `import modeling_rsclip, processing`: as remote code, and as the installed package.
PROGRAM = """
import json, sys
from pathlib import Path
clip_folder, captioner_folder, local = sys.argv[1:]
if local == "local":
    import modeling_rsclip, processing
import torch
from transformers import AutoModel, AutoModelForImageTextToText, AutoProcessor
torch.set_num_threads(1)
rgb, infrared = Path("rgb.jpg"), Path("infrared.png")

model = AutoModel.from_pretrained(clip_folder, trust_remote_code=True).eval()
processor = AutoProcessor.from_pretrained(clip_folder, trust_remote_code=True)
with torch.inference_mode():
    output = model(**processor(images=rgb, infrared=infrared, text="An aerial view of a harbor."))
embeds = {name: output[name].flatten().tolist() for name in ("image_embeds", "infrared_embeds", "text_embeds")}

captioner = AutoModelForImageTextToText.from_pretrained(captioner_folder, trust_remote_code=True).eval()
reader = AutoProcessor.from_pretrained(captioner_folder, trust_remote_code=True)
content = [{"type": "image", "path": "rgb.jpg"}, {"type": "infrared", "path": "infrared.png"},
           {"type": "text", "text": "Describe the scene."}]
inputs = reader.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True,
                                    tokenize=True, return_dict=True, return_tensors="pt")
tokens = captioner.generate(**inputs, max_new_tokens=40, do_sample=False)[0, inputs["input_ids"].shape[1]:]
print(json.dumps({"embeds": embeds, "caption": reader.decode(tokens, skip_special_tokens=True).strip(),
                  "classes": [type(model).__name__, type(captioner).__name__],
                  "modules": [type(model).__module__, type(captioner).__module__]}))
"""


def reload_in_fresh_process(output: Path, data: Path) -> dict[str, Any]:
    """What both processes computed from one held-out pair, and whether it is equal."""
    print("6/6  reload the exported models in a fresh process", flush=True)
    row = load_split(str(data), "test")[0]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "rgb.jpg").write_bytes(row["rgb"]["bytes"])
        (Path(folder) / "infrared.png").write_bytes(row["infrared"]["bytes"])
        remote, local = (_run(Path(folder), output, where) for where in ("remote", "local"))
    foreign = all(module.startswith("transformers_modules.") for module in remote["modules"])
    equal = foreign and all(remote[key] == local[key] for key in ("embeds", "caption"))
    return {"id": row["id"], "equal": equal, "classes": remote["classes"], "caption": remote["caption"]}


def _run(folder: Path, output: Path, where: str) -> dict[str, Any]:
    """Runs the program in a folder that holds nothing but the two images."""
    folders = [str((output / name / "model").resolve()) for name in ("clip-tri-modal", "captioner")]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / where), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1]) if where == "local" else ""
    command = [sys.executable, "-c", PROGRAM, *folders, where]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"the {where} reload failed:\n{result.stderr[-3000:]}")
    return dict(json.loads(result.stdout.splitlines()[-1]))
