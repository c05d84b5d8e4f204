"""Random numbers that depend on names only: not on the process, the worker, or what was drawn before."""

import hashlib

import torch


def draw(seed: int, *names: object) -> torch.Generator:
    """A random generator that is the same wherever it is asked for."""
    digest = hashlib.sha256("/".join(map(str, (seed, *names))).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))


def pick(options: list[str] | tuple[str, ...], generator: torch.Generator) -> str:
    """One of the options at random."""
    return options[int(torch.randint(len(options), (1,), generator=generator))]
