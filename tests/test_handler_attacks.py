"""Hostile requests to the endpoint: a typed refusal each, quickly, and the server goes on answering."""

import http.client
import ipaddress
import json
import os
import random
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_requests import OBJECTS, bodies, flat_png
from processing_fixtures import make_scene
from served_models import INFRARED, encode, infrared_text, rgb_text, save_served, to_text

from dataset_scripts.stages.public_addresses import is_public as downloader_is_public
from model_cards.addresses_handler import check_resolved, is_public, parse_address
from model_cards.endpoint_handler import Endpoint
from model_cards.fetch_handler import ImageFetcher
from model_cards.limits_handler import Limits, RequestError
from model_cards.serve_handler import HandlerServer, load_handler

BODIES = bodies()
ALLOWED = "127.9.9.9"
PNG = encode(make_scene())


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("attacked")
    for name in ("separate", "captioner"):
        save_served(name, root / name)
    return root


@pytest.fixture(scope="module")
def server(folders: Path) -> Iterator[HandlerServer]:
    server = HandlerServer(Endpoint(str(folders / "separate")))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(10)


def post(server: HandlerServer, body: bytes, path: str = "/", **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_there_are_more_than_eighty_kinds_of_hostile_requests() -> None:
    assert len(BODIES) > 80
    assert len({body for body, _ in BODIES.values()}) == len(BODIES)


@pytest.mark.parametrize("name", BODIES)
def test_a_hostile_request_gets_its_typed_refusal_within_seconds(server: HandlerServer, name: str) -> None:
    body, (status, kind) = BODIES[name]
    start = time.perf_counter()
    found_status, answer = post(server, body)
    assert time.perf_counter() - start < 15  # a busy machine; no refusal takes long
    assert (found_status, answer["error"]["type"]) == (status, kind), answer
    assert answer["error"]["status"] == status
    assert answer.keys() == {"error"}
    assert answer["error"].keys() == {"type", "message", "status"}
    assert 20 < len(answer["error"]["message"]) < 1000


def test_after_all_of_them_a_good_request_gets_its_answer(server: HandlerServer) -> None:
    status, answer = post(server, json.dumps({"inputs": rgb_text()}).encode())
    assert status == 200
    assert len(answer["image"]) == 16


CAPTIONER = {
    "task": ({"task": "embed"}, (422, "bad_parameter")),
    "labels": ({"candidate_labels": ["a"]}, (400, "bad_request")),
    "no tokens": ({"max_new_tokens": 0}, (422, "bad_parameter")),
    "many tokens": ({"max_new_tokens": 257}, (422, "bad_parameter")),
    "half a token": ({"max_new_tokens": 1.5}, (422, "bad_parameter")),
    "boolean": ({"max_new_tokens": True}, (422, "bad_parameter")),
    "sampling": ({"do_sample": True}, (400, "bad_request")),
}


@pytest.fixture(scope="module")
def captioner(folders: Path) -> Endpoint:
    return Endpoint(str(folders / "captioner"))


@pytest.mark.parametrize("name", CAPTIONER)
def test_the_captioner_refuses_parameters_that_it_does_not_have(captioner: Endpoint, name: str) -> None:
    parameters, expected = CAPTIONER[name]
    with pytest.raises(RequestError) as caught:
        captioner({"inputs": rgb_text(), "parameters": parameters})
    assert (caught.value.status, caught.value.kind) == expected


@pytest.mark.parametrize("name", [name for name, (sent, _) in OBJECTS.items() if "parameters" not in str(sent)[-300:]])
def test_the_captioner_refuses_hostile_inputs_too(captioner: Endpoint, name: str) -> None:
    with pytest.raises(RequestError) as caught:
        captioner(json.loads(json.dumps(OBJECTS[name][0])))
    assert 400 <= caught.value.status < 500


def test_damaged_images_are_answered_or_refused(folders: Path) -> None:
    """Bytes changed and cut at random, mostly in headers, where decoders decide how much to allocate."""
    endpoint = Endpoint(str(folders / "separate"))
    files = [encode(make_scene(), kind) for kind in ("PNG", "JPEG", "WEBP", "TIFF")]
    files += [encode(INFRARED, "PNG"), encode(INFRARED.astype(np.float32), "TIFF"), encode(make_scene(), mode="P")]
    generator, kinds, statuses = random.Random(0), set(), set()
    for _ in range(600):
        content = bytearray(generator.choice(files))
        for _ in range(generator.choice((1, 2, 4, 16))):
            place = generator.randrange(min(len(content), generator.choice((64, 400, 10**6))))
            content[place] = generator.randrange(256)
        if generator.random() < 0.1:
            content = content[: generator.randrange(len(content))]
        try:
            endpoint({"inputs": {generator.choice(("image", "infrared")): to_text(bytes(content))}})
        except RequestError as error:
            kinds.add(error.kind)
            statuses.add(error.status)
        else:
            kinds.add("answered")
    assert statuses <= {413, 422}
    assert kinds >= {"answered", "image_undecodable", "image_damaged", "image_colour_infrared"}


def test_one_bad_input_of_a_batch_is_named(server: HandlerServer) -> None:
    inputs = [rgb_text(), {"image": rgb_text(), "infrared": to_text(flat_png(20, 5000))}]
    status, answer = post(server, json.dumps({"inputs": inputs}).encode())
    assert status == 422
    assert answer["error"]["message"].startswith("`inputs[1]`: infrared image 0 of batch [aspect_ratio]: got 20 x 5000")


def test_the_server_refuses_wrong_paths_and_bodies_without_a_length(server: HandlerServer) -> None:
    assert post(server, b"{}", "/admin")[0] == 404
    headers = [("Transfer-Encoding", b"chunked")]
    headers += [("Content-Length", length.encode()) for length in ("-5", "+5", "5, 6", "٣", "1" * 16)]
    for name, value in headers:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
        connection.putrequest("POST", "/")
        connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())["error"]["type"]) == (411, "no_length"), value
        connection.close()


def test_the_health_check_answers_while_the_model_and_the_decoder_work(server: HandlerServer) -> None:
    heavy = json.dumps({"inputs": [{"image": to_text(flat_png(3999, 4000))}] * 3}).encode()
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(post(server, heavy)[0])) for _ in range(8)]
    for thread in threads:
        thread.start()
    slowest, checks = 0.0, 0
    while any(thread.is_alive() for thread in threads):
        start = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        connection.request("GET", "/health")
        assert connection.getresponse().read() == b"Ok"
        connection.close()
        slowest, checks = max(slowest, time.perf_counter() - start), checks + 1
    assert answers == [200] * 8
    assert checks > 5
    assert slowest < 2  # the benchmark holds the half second; this machine may be loaded


def test_a_folder_without_a_handler_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no handler\.py"):
        load_handler(tmp_path)


# Addresses


def test_public_addresses_are_those_of_the_downloader() -> None:
    generator = random.Random(0)
    networks = "10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16 224.0.0.0/4 8.8.8.0/24"
    for network in map(ipaddress.IPv4Network, networks.split()):
        first, last = int(network.network_address), int(network.broadcast_address)
        for number in (first - 1, first, last, last + 1):
            address = ipaddress.IPv4Address(number % 2**32)
            assert is_public(address) == downloader_is_public(address), address
    special = "::1 :: fe80::1 fc00::1 ff02::1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 64:ff9b::7f00:1 64:ff9b::808:808 "
    special += "2002:7f00:1:: 2001::1 2606:2800:220:1::1 3fff::1 168.63.129.16 fe80::1%1"
    numbers = [ipaddress.ip_address(generator.getrandbits(bits)) for bits in (32, 128) for _ in range(5000)]
    numbers += [ipaddress.IPv6Address((2 << 124) + generator.getrandbits(120)) for _ in range(1000)]
    for address in [*map(ipaddress.ip_address, special.split()), *numbers]:
        assert is_public(address) == downloader_is_public(address), address


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "file:///etc/passwd",
        "ftp://example.com/",
        "data:image/png;base64,AAAA",
        "gopher://example.com/",
        "//example.com/",
        "",
        "https://",
        "https:///path",
        "https://user@example.com/",
        "https://user:word@example.com/",
        "https://example.com\\@127.0.0.1/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://example.com:x/",
        "https://[::1",
        "https://[fe80::1%25eth0]/",
        "https://exämple.com/",
        "https://127。0。0。1/",
        "https://exa mple.com/",
        "https://example.com/\r\nHost: other",
        "https://example.com/\ud800",
        "https://" + "a" * 64 + ".com/",
        "https://a..b/",
    ],
)
def test_a_url_that_is_not_plain_https_is_refused(url: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_address(url, "image")
    assert (caught.value.status, caught.value.kind) == (422, "bad_url")


def test_a_host_with_one_private_address_is_refused() -> None:
    found = ["93.184.216.34", "2606:2800:220:1::1"]
    assert [str(address) for address in check_resolved(found[::-1], (), "image")] == found
    for private in ("127.0.0.1", "::1", "169.254.169.254", "::ffff:10.0.0.1", "0.0.0.0"):
        with pytest.raises(RequestError) as caught:
            check_resolved([*found, private], (), "image")
        assert (caught.value.status, caught.value.kind) == (403, "url_private")


# Downloads, from a server that behaves badly


class BadServer:
    """An https server on ALLOWED; a path says what it does. `canary_hits` counts connections that should not be."""

    def __init__(self, serving: ssl.SSLContext) -> None:
        self.listener = socket.create_server((ALLOWED, 0))
        self.port = self.listener.getsockname()[1]
        self.canary = socket.create_server(("127.0.0.1", self.port))
        self.canary_hits = 0
        self.asked: list[str] = []
        self.serving = serving
        self.closing = threading.Event()
        for listener, answer in ((self.listener, self.answer), (self.canary, self.sing)):
            listener.settimeout(0.1)
            threading.Thread(target=self.accept, args=(listener, answer), daemon=True).start()

    def accept(self, listener: socket.socket, answer: Callable[[socket.socket], None]) -> None:
        while not self.closing.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            threading.Thread(target=answer, args=(connection,), daemon=True).start()
        listener.close()

    def sing(self, connection: socket.socket) -> None:
        self.canary_hits += 1
        connection.close()

    def answer(self, plain: socket.socket) -> None:
        try:
            with self.serving.wrap_socket(plain, server_side=True) as connection:
                path = connection.recv(65_536).split(b" ")[1].decode()
                self.asked.append(path)
                self.behave(connection, path)
                connection.unwrap()
        except OSError:
            plain.close()

    def behave(self, connection: ssl.SSLSocket, path: str) -> None:
        ok = b"HTTP/1.1 200 OK\r\n"
        sized = ok + b"Content-Length: %d\r\n\r\n"
        hop = int(path[5:]) - 1 if path.startswith("/hops") else 0
        moved = {
            "/to-private": f"https://private.test:{self.port}/",
            "/to-loopback": f"https://127.0.0.1:{self.port}/",
            "/to-decimal": f"https://2130706433:{self.port}/",
            "/to-http": f"http://good.test:{self.port}/image",
            "/to-file": "file:///etc/passwd",
            "/to-nothing": "https://[",
            "/to-good": "/image",
            path if path.startswith("/hops") else "": f"/hops{hop}" if hop else "/image",
        }
        if path in moved:
            connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: %b\r\n\r\n" % moved[path].encode())
            return
        simple = {
            "/image": sized % len(PNG) + PNG,
            "/no-length": ok + b"\r\n" + PNG,
            "/html": sized % 6 + b"<html>",
            "/empty": sized % 0,
            "/cut": sized % 9999 + PNG,
            "/large": sized % 50_000_000 + PNG,
            "/chunks-of-nonsense": ok + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + PNG,
            "/gzip": ok + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
            "/not-found": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "/not-http": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
            "/many-headers": ok + b"X: y\r\n" * 1000 + b"\r\n",
            "/closed": b"",
        }
        if path in simple:
            connection.sendall(simple[path])
            return
        drip = {"/drip": (sized % 5000, b"x"), "/drip-headers": (ok, b"X"), "/stalled": (b"", b"")}
        pour = {"/endless": (ok + b"\r\n", bytes(1 << 20)), "/continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 99)}
        head, chunk = {**drip, **pour}[path]
        connection.sendall(head)
        while not self.closing.wait(0.05 if path in drip else 0):
            connection.sendall(chunk)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    folder = tmp_path_factory.mktemp("certificates")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=good.test"
    extensions = ["-addext", "subjectAltName=DNS:good.test", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *extensions], check=True, capture_output=True)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    return serving, ssl.create_default_context(cafile=str(certificate))


@pytest.fixture(scope="module")
def bad(certificates: tuple[ssl.SSLContext, ssl.SSLContext]) -> Iterator[BadServer]:
    server = BadServer(certificates[0])
    yield server
    server.closing.set()
    assert server.canary_hits == 0


def resolve(host: str) -> list[str]:
    known = {"good.test": ALLOWED, "wrong.test": ALLOWED, "private.test": "10.0.0.1", "loopback.test": "127.0.0.1"}
    if host in known:
        return [known[host]]
    if host == "slow.test":
        time.sleep(3)
    if host.replace(".", "").isdigit():
        return [str(ipaddress.ip_address(int(host) if host.isdigit() else host))]
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.fixture
def fetcher(certificates: tuple[ssl.SSLContext, ssl.SSLContext]) -> ImageFetcher:
    allowed = (ipaddress.IPv4Network(f"{ALLOWED}/32"),)
    limits = Limits(image_bytes=100_000)
    return ImageFetcher(limits, resolve=resolve, allowed_networks=allowed, tls=certificates[1])


@pytest.mark.parametrize("path", ["/image", "/no-length", "/to-good", "/hops3"])
def test_an_image_is_downloaded_through_few_redirects(bad: BadServer, fetcher: ImageFetcher, path: str) -> None:
    deadline = time.monotonic() + 10
    assert fetcher.fetch(f"https://good.test:{bad.port}{path}", "image", deadline) == PNG


REFUSED = {
    "good.test/to-private": (403, "url_private"),
    "good.test/to-loopback": (403, "url_private"),
    "good.test/to-decimal": (403, "url_private"),
    "good.test/to-http": (422, "bad_url"),
    "good.test/to-file": (422, "bad_url"),
    "good.test/to-nothing": (422, "bad_url"),
    "good.test/hops4": (422, "url_failed"),
    "good.test/empty": (422, "url_failed"),
    "good.test/cut": (422, "url_failed"),
    "good.test/large": (413, "too_large"),
    "good.test/endless": (413, "too_large"),
    "good.test/chunks-of-nonsense": (422, "url_failed"),
    "good.test/gzip": (422, "url_failed"),
    "good.test/not-found": (422, "url_failed"),
    "good.test/not-http": (422, "url_failed"),
    "good.test/many-headers": (422, "url_failed"),
    "good.test/closed": (422, "url_failed"),
    "good.test/drip": (422, "url_timeout"),
    "good.test/drip-headers": (422, "url_timeout"),
    "good.test/stalled": (422, "url_timeout"),
    "good.test/continue": (422, "url_timeout"),
    "slow.test/image": (422, "url_timeout"),
    "wrong.test/image": (422, "url_failed"),
    "unknown.test/image": (422, "url_failed"),
    "private.test/image": (403, "url_private"),
    "loopback.test/image": (403, "url_private"),
    "127.0.0.1/image": (403, "url_private"),
    "2130706433/image": (403, "url_private"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_download_is_refused_within_its_deadline(bad: BadServer, fetcher: ImageFetcher, name: str) -> None:
    host, _, path = name.partition("/")
    start = time.monotonic()
    with pytest.raises(RequestError) as caught:
        fetcher.fetch(f"https://{host}:{bad.port}/{path}", "image", start + 1)
    assert (caught.value.status, caught.value.kind) == REFUSED[name], caught.value
    assert time.monotonic() - start < 6  # one second, and what a busy machine adds


def test_an_endpoint_that_allows_urls_answers_as_for_the_bytes(
    folders: Path, bad: BadServer, fetcher: ImageFetcher
) -> None:
    endpoint = Endpoint(str(folders / "separate"), fetcher=fetcher)
    answer = endpoint({"inputs": {"image": {"url": f"https://good.test:{bad.port}/image"}}})
    assert answer == endpoint({"inputs": rgb_text()})
    with pytest.raises(RequestError, match="image_undecodable"):
        endpoint({"inputs": {"image": {"url": f"https://good.test:{bad.port}/html"}}})


@pytest.mark.parametrize(("value", "allowed"), [("1", True), ("0", False), ("", False), ("true", False)])
def test_urls_are_allowed_by_one_value_of_the_environment(
    folders: Path, monkeypatch: pytest.MonkeyPatch, value: str, allowed: bool
) -> None:
    monkeypatch.setitem(os.environ, "RSCLIP_HANDLER_ALLOW_URLS", value)
    endpoint = Endpoint(str(folders / "separate"))
    with pytest.raises(RequestError) as caught:
        endpoint({"inputs": {"image": {"url": "https://127.0.0.1/"}, "infrared": infrared_text()}})
    assert caught.value.kind == ("url_private" if allowed else "url_not_allowed")
