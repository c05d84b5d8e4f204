"""The downloader against a server that behaves badly: what is kept, what each refusal is called, and what it costs."""

import asyncio
import hashlib
import ipaddress
import socket
import ssl
import subprocess
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hostile_server import ALLOWED_ADDRESS, ALLOWED_NETWORK, JPEG, HostileServer, resolve

from dataset_scripts.stages.download import (
    PERMANENT_REASONS,
    REASONS,
    TRANSIENT_REASONS,
    Downloaded,
    DownloadRequest,
    download_images,
    download_images_async,
    is_transient,
)
from dataset_scripts.stages.download_limits import DownloadLimits
from dataset_scripts.stages.opt_out import find_opt_out
from dataset_scripts.stages.public_addresses import RefusedAddressError, is_public, parse_web_address
from dataset_scripts.stages.rejects import Reject
from dataset_scripts.stages.robots_rules import parse_robots

# Times that a busy machine keeps: an answer comes within one, a hundred waits that should not happen take many.
LIMITS = DownloadLimits(
    timeout_seconds=4.0,
    max_bytes=2_000_000,
    retry_pause_seconds=0.01,
    honours_robots_txt=False,
    allowed_private_networks=(ALLOWED_NETWORK,),
)

# What a host does, and what it is called. Names are those of the server.
BEHAVIOURS = {
    "to-canary": "private_address",
    "to-canary-decimal": "private_address",
    "to-canary-name": "private_address",
    "to-canary-mapped": "private_address",
    "to-canary-slashes": "private_address",
    "to-metadata": "private_address",
    "to-file": "bad_url",
    "to-data": "bad_url",
    "to-ftp": "bad_url",
    "to-user": "bad_url",
    "to-nothing": "too_many_redirects",
    "to-unicode": "bad_url",
    "loop": "too_many_redirects",
    "ping": "too_many_redirects",
    "status-400": "http_4xx",
    "status-401": "http_4xx",
    "status-403": "http_4xx",
    "status-404": "http_4xx",
    "status-410": "http_4xx",
    "status-429": "too_many_requests",
    "status-500": "server_error",
    "status-503": "server_error",
    "status-408": "incomplete",
    "status-204": "bad_response",
    "status-304": "bad_response",
    "later": "too_many_requests",
    "dated": "too_many_requests",
    "html": "not_an_image",
    "html-as-jpeg": "not_an_image",
    "json": "not_an_image",
    "json-as-jpeg": "not_an_image",
    "utf16-html": "not_an_image",
    "empty": "empty_body",
    "gzip": "encoded_body",
    "brotli": "encoded_body",
    "deflate": "encoded_body",
    "truncated": "incomplete",
    "chunk-cut": "incomplete",
    "chunk-nonsense": "incomplete",
    "transfer-gzip": "bad_response",
    "two-lengths": "bad_response",
    "negative-length": "bad_response",
    "not-http": "bad_response",
    "closed": "incomplete",
    "half-head": "incomplete",
    "reset": "incomplete",
    "partial": "bad_response",
    "no-location": "bad_response",
    "upgrade": "bad_response",
    "many-100": "timeout",
    "huge-headers": "bad_response",
    "declared-huge": "too_large",
    "undeclared-huge": "too_large",
    "chunked-huge": "too_large",
    "absurd-length": "too_large",
    "endless": "timeout",
    "drip": "timeout",
    "drip-head": "timeout",
    "stalled": "timeout",
    "stalled-body": "timeout",
    "noai": "opted_out",
    "noai-redirect": "opted_out",
    "tdm": "opted_out",
    "nxdomain": "dns_failure",
    "nowhere": "dns_failure",
    "private": "private_address",
    "metadata": "private_address",
    "mixed": "private_address",
    "mixed6": "private_address",
}
# Forms of addresses of this machine and its surroundings; {} is the port of the canary.
PRIVATE_URLS = (
    "http://127.0.0.1:{}/",
    "http://127.1:{}/",
    "http://127.9.9.8:{}/",
    "http://2130706433:{}/",
    "http://0x7f000001:{}/",
    "http://0x7f.0.0.1:{}/",
    "http://0177.0.0.1:{}/",
    "http://017700000001:{}/",
    "http://0:{}/",
    "http://0.0.0.0:{}/",
    "http://localhost:{}/",
    "http://LOCALHOST.:{}/",
    "http://127.0.0.1.:{}/",
    "http://[::1]:{}/",
    "http://[::]:{}/",
    "http://[0:0:0:0:0:0:0:1]:{}/",
    "http://[::ffff:127.0.0.1]:{}/",
    "http://[::ffff:7f00:1]:{}/",
    "http://[::127.0.0.1]:{}/",
    "http://[64:ff9b::127.0.0.1]:{}/",
    "http://[64:ff9b:1::7f00:1]:{}/",
    "http://[2002:7f00:1::]:{}/",
    "http://[2001:0:7f00:1::]:{}/",
    "http://[fc00::1]:{}/",
    "http://[fe80::1]:{}/",
    "http://[fec0::1]:{}/",
    "http://[ff02::1]:{}/",
    "http://[fd00:ec2::254]:{}/",
    "http://10.1.2.3:{}/",
    "http://172.31.0.1:{}/",
    "http://192.168.1.1:{}/",
    "http://100.64.0.1:{}/",
    "http://169.254.169.254:{}/",
    "http://168.63.129.16:{}/",
    "http://192.0.0.192:{}/",
    "http://198.18.0.1:{}/",
    "http://224.0.0.1:{}/",
    "http://240.0.0.1:{}/",
    "http://255.255.255.255:{}/",
    "http://\uff11\uff12\uff17\uff0e\uff10\uff0e\uff10\uff0e\uff11:{}/",
    "http://127\u30020\u30020\u30021:{}/",
    "http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3:{}/",
    "http://loopback.test:{}/",
)
BAD_URLS = (
    "",
    " ",
    "image.jpg",
    "/etc/passwd",
    "file:///etc/passwd",
    "ftp://127.0.0.1:{}/",
    "gopher://127.0.0.1:{}/",
    "data:image/png;base64,AAAA",
    "javascript:alert(1)",
    "//127.0.0.1:{}/",
    "http://",
    "http://:{}/",
    "http://user@good.test/",
    "http://good.test:80@127.0.0.1:{}/",
    "http://good.test\\@127.0.0.1:{}/",
    "http://127.0.0.1%2f@good.test/",
    "http://%31%32%37.0.0.1:{}/",
    "http://good.test:0/",
    "http://good.test:99999/",
    "http://good.test:http/",
    "http://[::1:{}/",
    "http://[::1%25lo]:{}/",
    "http://good.test\r\nHost: 127.0.0.1/",
    "http://good.test/\tx",
    "http://good.test/\ud800",
    "http://a..b/",
    "http://.good.test/",
    f"http://{'a' * 64}.test/",
    f"http://{'a.' * 200}test/",
    f"http://good.test/{'a' * 9000}",
    "http://good test/",
    "http://xn--\u00e4/",
)


@pytest.fixture(scope="module")
def server() -> Iterator[HostileServer]:
    try:
        socket.create_server((ALLOWED_ADDRESS, 0)).close()
    except OSError:
        pytest.skip(f"{ALLOWED_ADDRESS} is not an address of this machine; Linux has all of 127.0.0.0/8")
    with HostileServer() as running:
        yield running


def requests_for(*urls: str) -> list[DownloadRequest]:
    return [DownloadRequest(url=url) for url in urls]


def test_every_hostile_address_gets_its_name_no_good_row_is_lost_and_the_canary_is_silent(
    server: HostileServer,
) -> None:
    urls, expected = [], []
    bad = [(server.url(host), reason) for host, reason in BEHAVIOURS.items()]
    bad += [(url.format(server.canary_port), "private_address") for url in PRIVATE_URLS]
    bad += [(url.replace("{}", str(server.canary_port)), "bad_url") for url in BAD_URLS]
    assert len(bad) >= 140
    for number, (url, reason) in enumerate(bad):
        urls += [url, server.url(f"good-{number % 7}", f"/{number}.jpg")]
        expected += [reason, None]
    start = time.monotonic()
    kept, rejects = download_images(requests_for(*urls), LIMITS, resolve=resolve)
    seconds = time.monotonic() - start
    found = {reject.row: reject.reason for reject in rejects}
    assert {urls[row]: (found.get(row), want) for row, want in enumerate(expected) if found.get(row) != want} == {}
    assert [image.row for image in kept] == [row for row, reason in enumerate(expected) if reason is None]
    assert all(image.data == JPEG + b"/%d.jpg" % (image.row // 2) for image in kept)
    assert server.canary_connections == 0
    assert seconds < 6 * LIMITS.timeout_seconds, "each takes the limit at most, sixty-four at once"
    assert {reject.reason for reject in rejects} <= set(REASONS)


def test_the_canary_hears_when_it_is_allowed_to(server: HostileServer) -> None:
    before = server.canary_connections
    limits = DownloadLimits(allowed_private_networks=("127.0.0.0/8",), timeout_seconds=2, retries=0)
    _, rejects = download_images(requests_for(f"http://2130706433:{server.canary_port}/"), limits)
    assert rejects[0].reason == "incomplete"
    assert server.canary_connections > before
    server.canary_connections = before


def test_what_is_returned_is_the_bytes_their_hash_and_where_they_came_from(server: HostileServer) -> None:
    hosts = ("to-good", "good", "no-length", "http10", "jpeg-as-text", "octets", "identity")
    kept, rejects = download_images(requests_for(*map(server.url, hosts)), LIMITS, resolve=resolve)
    assert rejects == []
    data = JPEG + b"/found.jpg"
    assert kept[0] == Downloaded(0, data, hashlib.sha256(data).hexdigest(), f"http://good.test:{server.port}/found.jpg")
    assert [image.data for image in kept[2:]] == [JPEG] * 5


def test_redirects_up_to_the_limit_are_followed(server: HostileServer) -> None:
    kept, rejects = download_images(
        requests_for(server.url("hops", "/3"), server.url("hops", "/4")), LIMITS, resolve=resolve
    )
    assert [(image.row, image.url) for image in kept] == [(0, f"http://hops.test:{server.port}/0")]
    assert rejects == [Reject(1, "too_many_redirects", f"more than 3, the last to http://hops.test:{server.port}/0")]


def test_a_server_that_fails_once_is_asked_again_and_one_that_says_later_is_not(server: HostileServer) -> None:
    start = time.monotonic()
    kept, rejects = download_images(
        requests_for(server.url("flaky", "/once"), server.url("later", "/once")), LIMITS, resolve=resolve
    )
    assert [image.data for image in kept] == [JPEG + b"/once"]
    assert rejects == [Reject(1, "too_many_requests", "429 from later.test")]
    assert (server.hits["flaky/once"], server.hits["later/once"]) == (2, 1)
    assert time.monotonic() - start < LIMITS.timeout_seconds
    none = DownloadLimits(retries=0, honours_robots_txt=False, allowed_private_networks=(ALLOWED_NETWORK,))
    _, rejects = download_images(requests_for(server.url("flaky", "/never")), none, resolve=resolve)
    assert rejects[0].reason == "server_error"
    assert server.hits["flaky/never"] == 1


def test_a_changed_image_is_dropped_and_an_unchanged_one_kept(server: HostileServer) -> None:
    data = JPEG + b"/image.jpg"
    sha256, md5 = hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest()
    url = server.url("good")
    kept, rejects = download_images(
        [
            DownloadRequest(url=url, sha256=sha256),
            DownloadRequest(url=url, sha256=sha256.upper(), md5=md5),
            DownloadRequest(url=url, sha256="0" * 64),
            DownloadRequest(url=url, md5="f" * 32),
        ],
        LIMITS,
        resolve=resolve,
    )
    assert [image.row for image in kept] == [0, 1]
    assert rejects == [
        Reject(2, "content_changed", f"SHA-256 is {sha256}, published was {'0' * 64}"),
        Reject(3, "content_changed", f"MD5 is {md5}, published was {'f' * 32}"),
    ]
    with pytest.raises(ValueError, match="sha256 of 'http://a/' is 'abc'; it must be 64 hexadecimal digits"):
        DownloadRequest(url="http://a/", sha256="abc")


def test_a_body_of_600_megabytes_is_not_held(server: HostileServer) -> None:
    hosts = ["undeclared-huge", "declared-huge", "chunked-huge", "gzip"]
    limits = DownloadLimits(max_bytes=5_000_000, honours_robots_txt=False, allowed_private_networks=(ALLOWED_NETWORK,))
    tracemalloc.start()
    kept, rejects = download_images(requests_for(*map(server.url, hosts)), limits, resolve=resolve)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept == []
    assert [reject.reason for reject in rejects] == ["too_large", "too_large", "too_large", "encoded_body"]
    assert peak_bytes < 40_000_000, "three bodies of 5 MB at once, and what the server has in its hands"


def test_few_connections_go_to_one_host_and_a_dead_one_does_not_hold_up_the_batch(server: HostileServer) -> None:
    limits = DownloadLimits(
        timeout_seconds=1.0,
        connections_per_host=2,
        max_host_failures=4,
        honours_robots_txt=False,
        allowed_private_networks=(ALLOWED_NETWORK,),
    )
    urls = [server.url("stalled", f"/{number}") for number in range(100)]
    urls += [server.url("crowd", f"/{number}") for number in range(20)]
    start = time.monotonic()
    kept, rejects = download_images(requests_for(*urls), limits, resolve=resolve)
    assert time.monotonic() - start < 20, "a hundred waits of a second, two at once, take fifty"
    assert [image.row for image in kept] == list(range(100, 120))
    assert server.most_at_once["crowd"] == 2
    reasons = [reject.reason for reject in rejects]
    assert reasons.count("timeout") in (4, 5)
    assert set(reasons[5:]) == {"host_unavailable"}
    assert rejects[-1].detail.startswith("stalled.test failed ")


def test_results_are_the_same_in_every_run_and_for_every_concurrency(server: HostileServer) -> None:
    hosts = ("good", "html", "drip", "to-canary", "good", "status-404", "truncated")
    urls = [server.url(host, f"/{number}") for number, host in enumerate(hosts * 3)]
    answers = []
    for concurrency in (1, 4, 64):
        limits = DownloadLimits(
            concurrency=concurrency,
            timeout_seconds=1.0,
            retry_pause_seconds=0,
            honours_robots_txt=False,
            allowed_private_networks=(ALLOWED_NETWORK,),
        )
        answers.append(download_images(requests_for(*urls), limits, resolve=resolve))
    assert answers[0] == answers[1] == answers[2]
    assert download_images([], LIMITS) == ([], [])


def test_robots_txt_is_read_once_for_a_host_and_kept_to(server: HostileServer) -> None:
    limits = DownloadLimits(
        timeout_seconds=2, retry_pause_seconds=0, max_redirects=3, allowed_private_networks=(ALLOWED_NETWORK,)
    )
    server.hits.clear()
    urls = [server.url("robots", path) for path in ("/a.jpg", "/secret/a.jpg", "/a.gif", "/a.gif?x", "/b.jpg")]
    urls += [server.url("robots-broken", "/c.jpg"), server.url("robots-huge", "/d.jpg")]
    kept, rejects = download_images(requests_for(*urls), limits, resolve=resolve)
    assert [image.row for image in kept] == [0, 3, 4, 6]
    assert rejects == [
        Reject(1, "robots_txt", "robots.test disallows /secret/a.jpg"),
        Reject(2, "robots_txt", "robots.test disallows /a.gif"),
        Reject(5, "server_error", "robots.txt: 503 from robots-broken.test"),
    ]
    assert server.hits["robots/robots.txt"] == 1
    assert server.hits["robots/secret/a.jpg"] == server.hits["robots-broken/c.jpg"] == 0


def test_a_request_says_who_we_are_and_asks_for_plain_bytes(
    server: HostileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine good.test login us password secret\n", encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.canary_port}")
    kept, _ = download_images(requests_for(server.url("good")), LIMITS, resolve=resolve)
    assert len(kept) == 1
    assert server.canary_connections == 0
    names = {name for name in server.seen_headers if name}
    assert names == {"host", "user-agent", "accept", "accept-encoding"}
    assert server.seen_headers["user-agent"] == "rsclip-dataset/0.1 (research dataset of remote-sensing images)"
    assert server.seen_headers["accept-encoding"] == "identity"
    assert server.seen_headers["host"] == f"good.test:{server.port}"


def test_a_certificate_is_checked_by_host_name_though_the_address_is_ours(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=right.test"
    extensions = ["-addext", "subjectAltName=DNS:right.test", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *extensions], check=True, capture_output=True)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    names: list[str | None] = []
    serving.sni_callback = lambda connection, name, context: names.append(name)
    trusting = ssl.create_default_context(cafile=str(certificate))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(JPEG) + JPEG)
        writer.close()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def run() -> tuple[list[Downloaded], list[Reject]]:
        secure = await asyncio.start_server(answer, ALLOWED_ADDRESS, 0, ssl=serving)
        mute = await asyncio.start_server(silent, ALLOWED_ADDRESS, 0)
        port, mute_port = (listener.sockets[0].getsockname()[1] for listener in (secure, mute))
        urls = requests_for(
            f"https://right.test:{port}/", f"https://wrong.test:{port}/", f"https://right.test:{mute_port}/"
        )
        async with secure, mute:
            return await download_images_async(urls, LIMITS, resolve=lambda host: [ALLOWED_ADDRESS], tls=trusting)

    kept, rejects = asyncio.run(run())
    assert [(image.row, image.data) for image in kept] == [(0, JPEG)]
    assert [(reject.row, reject.reason) for reject in rejects] == [(1, "tls_failure"), (2, "timeout")]
    assert "wrong.test" in rejects[0].detail
    assert sorted(map(str, names)) == ["right.test", "wrong.test"]


def test_a_name_is_resolved_once_in_a_batch_so_it_cannot_change_its_mind(server: HostileServer) -> None:
    answers = [[ALLOWED_ADDRESS], ["127.0.0.1"]]
    calls = []

    def rebind(host: str) -> list[str]:
        calls.append(host)
        return answers[min(len(calls) - 1, 1)]

    urls = [server.url("no-length", f"/{number}") for number in range(5)]
    kept, rejects = download_images(requests_for(*urls), LIMITS, resolve=rebind)
    assert (len(kept), rejects, calls) == (5, [], ["no-length.test"])


def test_the_second_address_of_a_host_is_tried_when_the_first_does_not_answer(server: HostileServer) -> None:
    limits = DownloadLimits(
        timeout_seconds=2, honours_robots_txt=False, allowed_private_networks=(ALLOWED_NETWORK, "127.9.9.7/32")
    )
    closed_first = ["127.9.9.7", ALLOWED_ADDRESS]
    kept, _ = download_images(requests_for(server.url("good")), limits, resolve=lambda host: closed_first)
    assert len(kept) == 1


@pytest.mark.parametrize(
    ("headers", "opts_out"),
    [
        ([("X-Robots-Tag", "noai")], True),
        ([("x-robots-tag", "NoImageAI")], True),
        ([("X-Robots-Tag", "all, noindex , nofollow")], True),
        ([("X-Robots-Tag", "noimageindex")], True),
        ([("X-Robots-Tag", "noml")], True),
        ([("X-Robots-Tag", "none")], True),
        ([("X-Robots-Tag", "nofollow"), ("X-Robots-Tag", "noai")], True),
        ([("X-Robots-Tag", "*: noai")], True),
        ([("X-Robots-Tag", "RSCLIP-Dataset: noindex")], True),
        ([("X-Robots-Tag", "otherbot: noai, rsclip-dataset: noai")], True),
        ([("X-Robots-Tag", "noai, otherbot: noindex")], True),
        ([("X-Robots-Tag", "max-snippet: 20, noai")], True),
        ([("X-Robots-Tag", "unavailable_after: Sunday, 25-Aug-05 15:52:01 EST, noai")], True),
        ([("X-Robots-Tag", "noai;noimageai")], True),
        ([("TDM-Reservation", "1")], True),
        ([("tdm-reservation", " 1 ")], True),
        ([("X-Robots-Tag", "otherbot: noai")], False),
        ([("X-Robots-Tag", "otherbot: noai, noimageai")], False),
        ([("X-Robots-Tag", "all")], False),
        ([("X-Robots-Tag", "nofollow, noarchive, nosnippet")], False),
        ([("X-Robots-Tag", "max-image-preview: none")], False),
        ([("X-Robots-Tag", "")], False),
        ([("X-Robots-Tag", "noaim")], False),
        ([("TDM-Reservation", "0")], False),
        ([("TDM-Policy", "1")], False),
        ([("X-Other", "noai")], False),
        ([], False),
    ],
)
def test_an_opt_out_is_heard_when_it_is_meant_for_us(headers: list[tuple[str, str]], opts_out: bool) -> None:
    found = find_opt_out(headers, "rsclip-dataset/0.1 (x)")
    assert (found is not None) == opts_out
    if opts_out:
        assert found in {f"{name}: {value}" for name, value in headers}


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        ("/", True),
        ("/private/x.jpg", False),
        ("/private/open/x.jpg", True),
        ("/x.gif", False),
        ("/x.gif?size=2", True),
        ("/a/tmp/b", False),
        ("/tie", True),
        ("/b%C3%A4r/x", False),
    ],
)
def test_the_longest_rule_of_robots_txt_decides(target: str, allowed: bool) -> None:
    text = (
        "User-agent: other\nDisallow: /\n\n# all\nUSER-AGENT: *\nDisallow: /private # no\nAllow: /private/open/\n"
        "Disallow: /*.gif$\nDisallow: /*/tmp/\nDisallow:\nDisallow: /tie\nAllow: /tie\nDisallow: /b\u00e4r\n"
        "Sitemap: http://x/\n"
    )
    assert parse_robots(text, "rsclip-dataset/0.1").allows(target) == allowed


def test_our_own_group_of_robots_txt_goes_before_that_of_all() -> None:
    text = "User-agent: *\nDisallow: /\nUser-agent: x\nUser-agent: RSCLIP-Dataset\nAllow: /\n"
    assert parse_robots(text, "rsclip-dataset/0.1").allows("/a")
    assert not parse_robots(text, "else/0.1").allows("/a")
    assert parse_robots("<html>no rules</html>", "x/1").allows("/a")
    hostile = "User-agent: *\n" + "".join(f"Disallow: /{'*a' * 20}{number}\n" for number in range(5001))
    assert not parse_robots(hostile, "x/1").allows("/")


def test_reasons_are_split_into_those_that_may_pass_and_those_that_stay() -> None:
    assert not set(TRANSIENT_REASONS) & set(PERMANENT_REASONS)
    assert is_transient("dns_failure")
    assert not is_transient("http_4xx")
    with pytest.raises(ValueError, match="'gone' is not a reason of the download"):
        is_transient("gone")


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8"],
)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


def test_no_address_that_python_calls_private_is_public_to_us() -> None:
    for network in range(256):
        for second in (0, 1, 2, 18, 31, 51, 64, 88, 127, 168, 175, 254, 255):
            for rest in ((0, 1), (2, 7), (100, 3), (113, 9), (255, 255)):
                address = ipaddress.IPv4Address(bytes((network, second, *rest)))
                if is_public(address):
                    assert address.is_global
                    assert not address.is_multicast


def test_a_url_is_rebuilt_from_its_parts() -> None:
    assert str(parse_web_address(" HTTPS://B\u00fccher.Example:443/a b/\u00e4?q=\u00fc&x=%20#part ")) == (
        "https://xn--bcher-kva.example/a%20b/%C3%A4?q=%C3%BC&x=%20"
    )
    assert str(parse_web_address("http://[2606:4700::1111]:8080")) == "http://[2606:4700::1111]:8080/"
    with pytest.raises(RefusedAddressError, match="bad_url: scheme 'file'; http and https are fetched: 'file:///x'"):
        parse_web_address("file:///x")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"concurrency": 0}, "fetches nothing"),
        ({"max_bytes": 0}, "fetches nothing"),
        ({"retries": -1}, "fetches nothing"),
        ({"timeout_seconds": 0.0}, "timeout_seconds=0.0 and retry_pause_seconds must be positive"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds=nan and"),
        ({"user_agent": "a\r\nb"}, "must begin with a name and be printable ASCII"),
        ({"user_agent": ""}, "must begin with a name and be printable ASCII"),
        ({"allowed_private_networks": ("10.0.0.300/8",)}, "does not appear to be an IPv4 or IPv6 network"),
    ],
)
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DownloadLimits(**wrong)
