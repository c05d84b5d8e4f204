"""The same build on processes of this machine and on Ray: equal bytes, equal errors, and nothing left running."""

import _thread
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from rs5m_inputs import folder_bytes, manifest_of, png, sha256, write_json_lines

import dataset_scripts.engine as engine
from dataset_scripts.engine import EngineConfig, run_tasks

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


def environment(tmp_path: Path) -> dict[str, str]:
    # A token of this test's own: one that lies in the home of whoever runs it is of another cluster.
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": sha256(str(tmp_path).encode())}
    place = {"PYTHONPATH": str(ROOT), "RAY_TMPDIR": str(ray_folder(tmp_path))}
    return {**os.environ, **own, **place, "OMP_NUM_THREADS": "1"}


def ray_folder(tmp_path: Path) -> Path:
    """Ray puts sockets there, whose names may have 107 characters only."""
    folder = Path("/tmp") / f"ray-{os.getpid()}-{tmp_path.name[-12:]}"
    folder.mkdir(exist_ok=True)
    return folder


def run_command(arguments: list[str], tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run the program; a process can choose where it runs only once."""
    return subprocess.run(
        [sys.executable, "-m", "dataset_scripts", "build", *arguments],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def ray_processes(folder: Path) -> dict[int, str]:
    """Processes of the Ray whose files are in a folder, by number."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:  # it ended while we looked
            continue
        if str(folder) in command:
            found[int(path.parent.name)] = command
    return found


def no_ray_is_left(tmp_path: Path) -> bool:
    deadline = time.monotonic() + 30
    while ray_processes(ray_folder(tmp_path)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def written(folder: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    """All files but the two that hold the revision of the code, on which somebody may be working; and the manifest."""
    files = {name: data for name, data in folder_bytes(folder).items() if name not in ("manifest.json", "README.md")}
    manifest = manifest_of(folder)
    return files, {name: manifest[name] for name in ("config_key", "stages", "splits", "audit", "shards", "notes")}


def build_arguments(photos: Path, output: Path, *more: str) -> list[str]:
    sources = ["fusionrs", "--source", "simulator", f"folder:{photos}", "--num-scenes", "12"]
    sizes = ["--sources.scene-size", "16", "--rows-per-part", "8", "--sources.license", "CC-BY-4.0"]
    return [*sources, *sizes, "--translator.name", "luminance", "--output", str(output), *more]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.png").write_bytes(png(number))
    lines = [{"file_name": f"{number}.png", "caption": f"a river, number {number}"} for number in range(6)]
    write_json_lines(folder / "metadata.jsonl", lines)
    return folder


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """The address of a small Ray that is already running."""
    folder = ray_folder(tmp_path)
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    port = "26379"
    start = [*ray, "start", "--head", "--port", port, "--num-cpus", "2", "--include-dashboard", "false"]
    start += ["--object-store-memory", "100000000", "--temp-dir", str(folder), "--disable-usage-stats"]
    done = subprocess.run(start, capture_output=True, text=True, timeout=120, check=False, env=environment(tmp_path))
    assert done.returncode == 0, done.stderr
    before = ray_processes(folder)
    assert before
    yield f"127.0.0.1:{port}"
    # Not `ray stop`, which would end every Ray of this machine.
    for pid in ray_processes(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert no_ray_is_left(tmp_path)


def test_local_and_ray_write_the_same_bytes_and_ray_goes_away(tmp_path: Path, photos: Path) -> None:
    outputs = []
    for name in ("local", "ray"):
        output = tmp_path / name / "fusionrs"
        done = run_command(build_arguments(photos, output, "--engine", name, "--workers", "2"), tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
        outputs.append(written(output))
    assert len(outputs[0][0]) > 2
    assert outputs[0] == outputs[1]
    assert no_ray_is_left(tmp_path)


def test_a_running_cluster_is_used_and_gives_the_same_error(tmp_path: Path, photos: Path, cluster: str) -> None:
    head = next(pid for pid, command in ray_processes(ray_folder(tmp_path)).items() if "gcs_server" in command)
    output = tmp_path / "ray" / "fusionrs"
    on_ray = ["--engine", "ray", "--ray-address", cluster, "--workers", "2"]
    done = run_command(build_arguments(photos, output, *on_ray), tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    local = tmp_path / "local" / "fusionrs"
    assert run_command(build_arguments(photos, local, "--workers", "1"), tmp_path).returncode == 0
    assert written(output) == written(local)
    # The cluster belongs to somebody: it is still there.
    assert head in ray_processes(ray_folder(tmp_path))
    from tiny_models import save_classifier

    save_classifier(tmp_path / "classifier")
    translator = ["--translator.name", "unet", "--translator.checkpoint", str(tmp_path / "classifier")]
    messages = []
    for name, options in {"ray": on_ray, "local": ["--workers", "2"]}.items():
        failed = build_arguments(photos, tmp_path / f"failed-{name}", *options)
        failed[failed.index("luminance")] = "unet"
        done = run_command([*failed, *translator[2:]], tmp_path)
        assert done.returncode == 1
        # Ray's own progress may come behind it, from another process.
        messages.append([line for line in done.stderr.splitlines() if line.startswith(str(tmp_path))])
        assert "Traceback" not in done.stderr
    assert messages[0] == messages[1]
    assert messages[0] == [
        f"{tmp_path / 'classifier'} holds a model of type 'vit'; 'unet' wants the folder of a saved RSTranslatorModel "
        "('rstranslator')."
    ]


@pytest.mark.parametrize(("name", "on_gpu", "held"), [("ray", True, 0.5), ("ray", False, 0), ("local", True, 0)])
def test_a_model_step_holds_its_part_of_a_gpu_on_ray_only(
    name: Any, on_gpu: bool, held: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    import daft

    seen: dict[str, Any] = {}

    class AskedError(Exception):
        pass

    def cls(worker: Any, **options: Any) -> Any:
        seen.update(options)
        raise AskedError

    monkeypatch.setattr(daft, "cls", cls)
    monkeypatch.setattr(engine, "_choose_runner", lambda *_: None)
    config = EngineConfig(engine=name, workers=3, gpus_per_worker=0.5)
    with pytest.raises(AskedError):
        next(run_tasks(object(), [{}, {}], config, on_gpu=on_gpu))  # type: ignore[arg-type]
    assert seen == {"use_process": None if name == "ray" else True, "max_concurrency": 2, "gpus": held}


FAILING = """
from dataset_scripts.engine import EngineConfig, TaskFailedError, run_tasks
from failing_work import FailingWork

try:
    list(run_tasks(FailingWork(), [{"number": number} for number in range(20)], EngineConfig(workers=2)))
except TaskFailedError as error:
    raise SystemExit(f"stopped: {error}")
"""
FAILING_WORK = """
class FailingWork:
    def open(self):
        return self.run

    def run(self, task):
        if task["number"] == 2:
            raise ValueError("no space")
        return task
"""


def test_a_failed_task_ends_the_process_with_its_message_and_never_with_a_crash(tmp_path: Path) -> None:
    """Before the engine's threads were awaited, one process in seven was brought down by them while it ended."""
    (tmp_path / "failing.py").write_text(FAILING)
    (tmp_path / "failing_work.py").write_text(FAILING_WORK)
    place = {**environment(tmp_path), "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    ends = set()
    for _ in range(25):
        done = subprocess.run(
            [sys.executable, "failing.py"], cwd=tmp_path, env=place, capture_output=True, text=True, check=False
        )
        ends.add((done.returncode, done.stderr.splitlines()[-1]))
    assert ends == {(1, "stopped: no space")}


def test_threads_from_outside_python_are_awaited() -> None:
    seen: list[str] = []

    def linger() -> None:
        seen.append("inside")
        time.sleep(0.3)
        seen.append("left")

    with engine._threads_left_behind_are_awaited():
        _thread.start_new_thread(linger, ())  # one that `threading` does not know, like those of the engine
        while not seen:
            time.sleep(0.001)
    assert seen == ["inside", "left"]
