"""Dispatches `python -m dataset_scripts COMMAND`."""

import sys
from collections.abc import Sequence

COMMANDS = {
    "build": "take sources to a published form: build fusionrs, build rs5m",
    "check": "verify every file and every row of a built folder",
    "push": "publish what may be published of a built folder on the Hugging Face Hub",
    "scene-sheet": "draw one scene of every class into a PNG",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Hand the arguments to the command that they name."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    match command:
        case "build":
            from .build import main as run
        case "check":
            from .check import main as run
        case "push":
            from .push import main as run
        case "scene-sheet":
            from .scenes.scene_sheet import main as run
        case "--help" | "-h":
            print(_usage())
            return
        case _:
            raise SystemExit(f"unknown command {command!r}.\n{_usage()}")
    run(rest)


def _usage() -> str:
    lines = [f"  {name:<14}{text}" for name, text in COMMANDS.items()]
    return "usage: python -m dataset_scripts COMMAND [--help]\n" + "\n".join(lines)


if __name__ == "__main__":
    main()
