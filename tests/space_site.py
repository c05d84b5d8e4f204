"""The demo Space on 127.0.0.1: models by name on a loopback Hub, the folder from the program."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loopback_hub import LoopbackHub
from served_models import save_served
from simulated_dataset import build_simulated
from transformers import AutoProcessor

ROOT = Path(__file__).parents[1]
SPACE = ROOT / ".cache" / "space"
ROWS, SCENE_TILE = 8, 64
# Most of the simulator's counts.
SCALING = {"rule": "window", "low": 26500.0, "high": 31500.0}
NAMES = {"clip": "ORG/clip", "captioner": "ORG/captioner"}
START_SECONDS = 60


def save_models(folder: Path) -> dict[str, Path]:
    """Tiny models with all that is published beside them; infrared is read by `SCALING`, white is hot."""
    for name, kind in (("clip", "separate"), ("captioner", "captioner")):
        save_served(kind, folder / name)
        processor = AutoProcessor.from_pretrained(folder / name)
        processor.image_processor.infrared_scaling = SCALING
        processor.image_processor.polarity = "white_hot"
        processor.save_pretrained(folder / name)
    return {name: folder / name for name in NAMES}


def put_on_hub(hub: LoopbackHub, models: dict[str, Path]) -> dict[str, str]:
    """Each model as a commit of a repository; the newest, after it, has no model. Returns the commits."""
    commits = {}
    for name, folder in models.items():
        repository = hub.add_repository(NAMES[name], "models")
        files = {
            path.name: hub.blobs.stored(hub.blobs.put(path.read_bytes()), is_lfs=path.suffix == ".safetensors")
            for path in folder.iterdir()
            if path.is_file()
        }
        commits[name] = repository.commit("main", files, "models", None).oid
        readme = {"README.md": hub.blobs.stored(hub.blobs.put(b"# Gone"), is_lfs=False)}
        repository.commit("main", readme, "nothing that loads", commits[name])
    return commits


@dataclass(frozen=True)
class Site:
    """A running Space, and what it was made of."""

    address: str
    folder: Path
    models: dict[str, Path]
    commits: dict[str, str]
    asked: list[str]
    """Paths that the app asked the Hub for."""


@contextmanager
def serve_site(place: Path) -> Iterator[Site]:
    """Put tiny models on a Hub, assemble the Space from their names, and serve it to which that Hub is the network."""
    models, folder = save_models(place), place / "demo_space"
    build_simulated(place / "fusionrs", 8 * ROWS, size=64)
    with LoopbackHub(place / "hub") as hub:
        commits = put_on_hub(hub, models)
        command = [
            sys.executable,
            "-m",
            "model_cards.space",
            "--data",
            str(place / "fusionrs"),
            "--output",
            str(folder),
        ]
        for name, commit in commits.items():
            command += [f"--{name}", NAMES[name], f"--{name}-revision", commit]
        command += ["--rows", str(ROWS), "--scene-tile", str(SCENE_TILE)]
        environment = {**hub.environment(place / "home", token=""), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "cannot be published" not in done.stderr
        before = len(hub.requests)
        with start_app(folder, place, hub) as address:
            asked = [request.path for request in hub.requests[before:]]
            yield Site(address, folder, models, commits, asked)


@contextmanager
def start_app(folder: Path, place: Path, hub: LoopbackHub) -> Iterator[str]:
    """The app in its own environment, in a process that knows nothing of this repository; yields its address."""
    (place / "elsewhere").mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(place / "home_of_the_app"),
        "HF_HUB_DISABLE_XET": "1",
        "GRADIO_TEMP_DIR": str(place / "uploads"),
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "HOME": str(place / "elsewhere"),
    }
    command = [str(SPACE / "bin" / "python"), str(folder / "app.py"), "--port", str(free_port())]
    with (place / "app.log").open("w") as log:
        app = subprocess.Popen(command, cwd=place / "elsewhere", env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        address = f"http://127.0.0.1:{command[-1]}"
        wait_for(address, app, place / "app.log")
        yield address
    finally:
        app.terminate()
        app.wait(10)


def wait_for(address: str, app: subprocess.Popen[bytes], log: Path) -> None:
    """Until the page answers."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert app.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    raise TimeoutError(f"no answer from the app in {START_SECONDS} s:\n{log.read_text()}")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
