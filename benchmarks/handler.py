"""The endpoint's handler under load: clients that mean well, a tenth that does not, and a health check beside them.

python -m benchmarks.handler --output benchmarks/results/handler.json

The server is a process of its own with a tiny random CLIP, so that what is measured is the handler: decoding, checks,
threads, memory. Answers are compared with those that the same server gave alone. Linux only (/proc).
"""

import http.client
import json
import multiprocessing
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from .handler_requests import Hostile, hostile_requests, known_requests, save_tiny_clip
from .record import provenance, write_record

TOLERANCE = 1e-5
HEALTH_INTERVAL_SECONDS = 0.05
LIMITS = {"health_milliseconds": 500, "growth_mb_per_1000_requests": 5}


@dataclass(frozen=True, kw_only=True)
class Config:
    """How long and how hard."""

    output: Path
    """JSON file to write."""
    seconds: float = 60.0
    """Time under load, after warming up."""
    clients: int = 16
    """Clients that send one request after the other."""
    hostile_share: float = 0.1
    """Share of requests that must be refused."""
    warm_up_requests: int = 1500
    """Requests before memory and time are measured, of the same kinds."""
    workers: int = 2
    """Threads of the server that run the handler."""
    seed: int = 0


@dataclass
class Tally:
    """What clients saw."""

    milliseconds: dict[str, list[float]] = field(default_factory=lambda: {"good": [], "hostile": []})
    statuses: Counter[int] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    """Answers that are not the known ones, and lost connections."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def requests(self) -> int:
        return sum(map(len, self.milliseconds.values()))


class Client:
    """Sends requests over one kept connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def post(self, body: bytes) -> tuple[int, Any]:
        self._connection.request("POST", "/", body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer = json.loads(response.read())
        if response.will_close:
            self._connection.close()
        return response.status, answer

    def health(self) -> int:
        self._connection.request("GET", "/health")
        response = self._connection.getresponse()
        response.read()
        return response.status

    def close(self) -> None:
        self._connection.close()


def main(config: Config) -> None:
    """Serves, loads, compares, writes, and fails where a promise is broken."""
    with tempfile.TemporaryDirectory() as folder:
        model = save_tiny_clip(Path(folder) / "model", config.seed)
        command = [sys.executable, "-m", "model_cards.serve_handler", str(model), "--port", "0"]
        server = subprocess.Popen([*command, "--workers", str(config.workers)], stdout=subprocess.PIPE, text=True)
        try:
            record = measure(config, server)
        finally:
            server.terminate()
            server.wait()
    record |= provenance(["torch", "transformers", "pillow", "numpy"])
    write_record(config.output, record)
    print(json.dumps(record, indent=2))
    if record["broken"]:
        sys.exit(f"broken promises: {record['broken']}")


def measure(config: Config, server: "subprocess.Popen[str]") -> dict[str, Any]:
    """All figures of one run."""
    assert server.stdout is not None
    port = int(server.stdout.readline().rsplit(":", 1)[1])
    good = known_requests(config.seed)
    alone = Client(port)
    known = [alone.post(body) for body in good]
    alone.close()
    if {status for status, _ in known} != {200}:
        raise RuntimeError(f"a good request was refused: {[answer for status, answer in known if status != 200]}")
    pairs = [(body, answer) for body, (_, answer) in zip(good, known, strict=True)]
    hostile = hostile_requests()
    run(config, port, pairs, hostile, Tally(), most=config.warm_up_requests)
    tally = Tally()
    # In a process of its own: among the threads of the clients it would measure how long it waits for them.
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    ours, theirs = context.Pipe()
    watcher = context.Process(target=watch, args=(port, server.pid, theirs, stop))
    watcher.start()
    ours.recv()
    start = time.perf_counter()
    run(config, port, pairs, hostile, tally, seconds=config.seconds)
    seconds = time.perf_counter() - start
    stop.set()
    health, memory = ours.recv()
    watcher.join()
    return figures(config, tally, health, memory, seconds, alive=server.poll() is None)


def run(
    config: Config,
    port: int,
    good: list[tuple[bytes, Any]],
    hostile: list[Hostile],
    tally: Tally,
    *,
    seconds: float | None = None,
    most: int | None = None,
) -> None:
    """All clients at once, for a time or for a number of requests."""
    end = None if seconds is None else time.perf_counter() + seconds

    def is_over() -> bool:
        return time.perf_counter() >= end if end is not None else tally.requests >= (most or 0)

    def work(number: int) -> None:
        generator = random.Random(f"{config.seed} {number} {most}")
        client = Client(port)
        while not is_over():
            if generator.random() < config.hostile_share:
                ask_hostile(client, generator.choice(hostile), tally)
            else:
                ask_good(client, *generator.choice(good), tally)
        client.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(config.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def ask_good(client: Client, body: bytes, wanted: Any, tally: Tally) -> None:
    """One request whose answer is known."""
    answered = timed(client, body, tally, "good")
    if answered is not None and (answered[0] != 200 or not is_same(answered[1], wanted)):
        with tally.lock:
            tally.wrong.append(f"status {answered[0]}: {str(answered[1])[:200]}")


def ask_hostile(client: Client, request: Hostile, tally: Tally) -> None:
    """One request that must be refused."""
    answered = timed(client, request.body, tally, "hostile")
    if answered is None:
        return
    found = answered[0], answered[1].get("error", {}).get("type") if isinstance(answered[1], dict) else None
    with tally.lock:
        tally.kinds[request.name] += 1
        if found != (request.status, request.kind):
            tally.wrong.append(f"{request.name}: {found}, wanted {(request.status, request.kind)}")


def timed(client: Client, body: bytes, tally: Tally, kind: str) -> tuple[int, Any] | None:
    """The answer; None for a lost connection, which is counted as wrong."""
    start = time.perf_counter()
    try:
        status, answer = client.post(body)
    except (OSError, http.client.HTTPException) as error:
        client.close()
        with tally.lock:
            tally.wrong.append(f"{kind} request of {len(body)} bytes: {error!r}")
        return None
    with tally.lock:
        tally.milliseconds[kind].append(1000 * (time.perf_counter() - start))
        tally.statuses[status] += 1
    return status, answer


def is_same(found: Any, wanted: Any) -> bool:
    """Equal but for the last digits of numbers."""
    if isinstance(wanted, float):
        return isinstance(found, float) and abs(found - wanted) <= TOLERANCE
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(is_same, found, wanted))
    if isinstance(wanted, dict):
        return (
            isinstance(found, dict)
            and found.keys() == wanted.keys()
            and all(is_same(found[name], wanted[name]) for name in wanted)
        )
    return bool(found == wanted)


def watch(port: int, pid: int, pipe: Any, stop: Any) -> None:
    """Asks for the health and looks at the memory, again and again; sends both when it is stopped."""
    client = Client(port)
    health: list[float] = []
    memory = [resident_mb(pid)]
    pipe.send("ready")
    while not stop.wait(HEALTH_INTERVAL_SECONDS):
        start = time.perf_counter()
        status = client.health()
        health.append(1000 * (time.perf_counter() - start) if status == 200 else float("inf"))
        memory.append(resident_mb(pid))
    pipe.send((health, memory))
    client.close()


def resident_mb(pid: int) -> float:
    """Resident memory of a process in 10^6 bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmRSS"))


def figures(
    config: Config, tally: Tally, health: list[float], memory: list[float], seconds: float, alive: bool
) -> dict[str, Any]:
    """What goes into the results file."""
    thousands = tally.requests / 1000
    # Requests come and go while memory is sampled: the trend of all samples says more than the two ends.
    slope = np.polyfit(np.linspace(0, thousands, len(memory)), memory, 1)[0]
    found: dict[str, Any] = {
        "what": f"{config.clients} clients for {seconds:.0f} s, {config.hostile_share:.0%} hostile; tiny random CLIP",
        "requests": tally.requests,
        "requests_per_second": round(tally.requests / seconds, 1),
        "statuses": {str(status): count for status, count in sorted(tally.statuses.items())},
        "hostile_requests": dict(sorted(tally.kinds.items())),
        "wrong_answers": len(tally.wrong),
        "examples_of_wrong_answers": tally.wrong[:5],
        "server_alive": alive,
        "good_milliseconds": percentiles(tally.milliseconds["good"]),
        "hostile_milliseconds": percentiles(tally.milliseconds["hostile"]),
        "health_milliseconds": percentiles(health),
        "resident_mb": {"start": round(memory[0], 1), "end": round(memory[-1], 1), "peak": round(max(memory), 1)},
        "growth_mb_per_1000_requests": {
            "trend": round(float(slope), 2),
            "from_start_to_end": round((memory[-1] - memory[0]) / thousands, 2),
        },
    }
    promises = {
        "the server lives": alive,
        "no wrong answer": not tally.wrong,
        "no status of 500 or more": max(tally.statuses) < 500,
        "health": max(health) <= LIMITS["health_milliseconds"],
        "memory": slope < LIMITS["growth_mb_per_1000_requests"],
    }
    return found | {"limits": LIMITS, "broken": [name for name, kept in promises.items() if not kept]}


def percentiles(values: list[float]) -> dict[str, float]:
    """Percentiles, the largest, and how many there are."""
    shares = {"p50": 50, "p90": 90, "p99": 99, "p999": 99.9, "max": 100}
    return {name: round(float(np.percentile(values, share)), 1) for name, share in shares.items()} | {"n": len(values)}


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
