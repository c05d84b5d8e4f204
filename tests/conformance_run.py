"""Runs transformers' own common tests on our classes and keeps the list of what they skip.

    python -m tests.conformance_run [--update] [pytest arguments]

A failure, a new skip and a vanished skip fail the run; `--update` rewrites `conformance_skips.tsv`. With pytest
arguments only a part runs, and the list is left alone.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parent
sys.path.insert(0, str(TESTS))

from conformance_sdist import CACHE, ROOT, prepare_common_tests  # noqa: E402

SKIPS = TESTS / "conformance_skips.tsv"
WIRING = ("conformance_models.py", "conformance_processing.py")
# The repository's pytest settings (warnings are errors) are ours, not transformers'.
SETTINGS = """[pytest]
addopts = --noconftest --no-header --tb=short --show-capture=no -p no:cacheprovider -p conformance_report
filterwarnings = ignore
"""


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    selection = [argument for argument in arguments if argument != "--update"]
    action = "update" if "--update" in arguments else "compare"
    if selection and action == "update":
        raise SystemExit(f"--update writes {SKIPS.name} from a whole run; got {selection} as well.")
    return run_common_tests(prepare_common_tests(), selection, "ignore" if selection else action)


def run_common_tests(folder: Path, selection: list[str], skips_action: str) -> int:
    """Runs pytest on the wiring files, with the distribution's package `tests` before ours on the path."""
    settings = CACHE / "pytest.ini"
    settings.write_text(SETTINGS)
    files = [] if any(".py" in argument for argument in selection) else [str(TESTS / name) for name in WIRING]
    command = [sys.executable, "-m", "pytest", "-c", str(settings), "--rootdir", str(ROOT)]
    command += ["--skips", str(SKIPS), "--skips-action", skips_action, *files, *selection]
    with tempfile.TemporaryDirectory() as scratch:
        environment = {
            "OMP_NUM_THREADS": "1",  # the models are tiny
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT), str(TESTS)]),
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": scratch,
        }
        return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
