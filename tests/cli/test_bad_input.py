"""Bad input to a real server and a real agent: refused whole, with command, parameter, fact and remedy."""

import json
import random
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from interlock.rest.bodies import BODY_SIZE_MAX
from interlock.testing.site import Site
from interlock.wire.tls import client_context
from tests.killing import loop
from tests.virt.test_input import COLON, NAME_REMEDY, NOT_NORMAL, PATH_REMEDY, SIZE_REMEDY, TOO_LARGE

GONE = "0192f0c1-0000-7000-8000-000000000000"
WAIT_S = 10.0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with host h1, storage domain sd1, and VM web1 without disks."""
    with Site(tmp_path_factory.mktemp("site"), forked=True) as site:
        site.start_server("--poll", "0.1")
        site.start_agent()
        loop.add_storage(site)
        site.do("vm.add", name="web1")
        loop.settled(site)
        yield site
        assert "Traceback" not in site.log("server") + site.log("agent")


@pytest.fixture
def untouched(site: Site) -> Iterator[None]:
    """Fails a test that leaves a row, a file or a line in the host's journal."""
    before = traces(site)
    yield
    assert traces(site) == before


def traces(site: Site) -> dict[str, Any]:
    """All that an accepted command would change."""
    tables = ("job", "command_entities", "async_tasks", "entities", "entity_locks", "audit_log")
    rows: dict[str, Any] = {table: site.rows(f"SELECT * FROM {table}") for table in tables}
    files = {str(path): path.lstat().st_mtime_ns for path in site.storage.rglob("*")}
    return {**rows, "files": files, "journal": site.agent_journal()}


def client(site: Site) -> httpx.Client:
    transport = httpx.HTTPTransport(uds=str(site.socket))
    return httpx.Client(transport=transport, base_url="http://interlock/api/v1", timeout=30)


def missing(command: str, kind: str) -> str:
    return f"{command}: {kind}:{GONE} does not exist; `interlock entity` lists what does"


def unnamed(command: str, parameter: str, kind: str, name: str) -> str:
    return f"{command}: {parameter}: there is no {kind} named {name!r}; `interlock entity {kind}` lists them"


def takes(command: str, parameter: str, fact: str) -> str:
    return f"{command}: {parameter}: {fact}; `interlock commands {command}` shows what it takes"


UNEXPECTED = "Unexpected keyword argument"
DISK = {"name": "d1", "domain": "sd1", "size": 1 << 20}
SMALL = f"the size is less than 1 byte; {SIZE_REMEDY}"
LARGE = f"{TOO_LARGE}; {SIZE_REMEDY}"

#: command, parameters, the reasons
SUBMITTED: list[tuple[str, dict[str, Any], list[str]]] = [
    ("vm.explode", {}, ["there is no command 'vm.explode'; `interlock commands` lists them"]),
    ("../vm.add", {}, ["there is no command '../vm.add'; `interlock commands` lists them"]),
    ("vm.add\n", {}, ["there is no command 'vm.add\\n'; `interlock commands` lists them"]),
    ("vm.add", {}, [takes("vm.add", "name", "Field required")]),
    ("vm.add", {"name": "x", "colour": "red"}, [takes("vm.add", "colour", UNEXPECTED)]),
    ("vm.add", {"name": "x", "k" * 9000: 1}, [takes("vm.add", "k" * 200, UNEXPECTED)]),
    (
        "vm.add",
        {"name": "x"} | {f"key{number:03}": 1 for number in range(250)},
        [takes("vm.add", f"key{number:03}", UNEXPECTED) for number in range(100)]
        + ["vm.add: 150 more are wrong; mend these first"],
    ),
    ("vm.add", {"name": 7}, [f"vm.add: name: the name is not text; {NAME_REMEDY}"]),
    ("vm.add", {"name": ".."}, [f"vm.add: name: '.' and '..' name folders; {NAME_REMEDY}"]),
    ("vm.add", {"name": "../web"}, [f"vm.add: name: the name contains '/'; {NAME_REMEDY}"]),
    ("vm.add", {"name": "a\0b"}, [f"vm.add: name: the name contains the control character U+0000; {NAME_REMEDY}"]),
    ("vm.add", {"name": "a\nb"}, [f"vm.add: name: the name contains the control character U+000A; {NAME_REMEDY}"]),
    ("vm.add", {"name": "-o"}, [f"vm.add: name: the name begins with '-', like an option; {NAME_REMEDY}"]),
    ("vm.add", {"name": "json:{}"}, [f"vm.add: name: {COLON}; {NAME_REMEDY}"]),
    ("vm.add", {"name": "nbd:h:10809"}, [f"vm.add: name: {COLON}; {NAME_REMEDY}"]),
    ("vm.add", {"name": "x" * 100_000}, [f"vm.add: name: the name has 100000 characters; {NAME_REMEDY}"]),
    ("template.create", {"name": "nbd:h", "vm": "web1"}, [f"template.create: name: {COLON}; {NAME_REMEDY}"]),
    ("vm.remove", {"vm": "nobody"}, [unnamed("vm.remove", "vm", "vm", "nobody")]),
    ("vm.remove", {"vm": "\0"}, [unnamed("vm.remove", "vm", "vm", "\0")]),
    ("vm.remove", {"vm": "../web1"}, [unnamed("vm.remove", "vm", "vm", "../web1")]),
    ("vm.remove", {"vm": "json:{}"}, [unnamed("vm.remove", "vm", "vm", "json:{}")]),
    (
        "vm.remove",
        {"vm": "x" * 100_000},
        ["vm.remove: vm: the ref has 100000 characters; write type:id, or a name"],
    ),
    ("vm.remove", {"vm": 7}, ["vm.remove: vm: not a ref; write type:id, or a name"]),
    ("vm.remove", {"vm": f"disk:{GONE}"}, [f"vm.remove: vm: disk:{GONE} names a disk; a vm is needed"]),
    ("vm.remove", {"vm": GONE}, [missing("vm.remove", "vm")]),
    ("template.create", {"name": "g", "vm": GONE}, [missing("template.create", "vm")]),
    ("disk.remove_image", {"disk": GONE}, [missing("disk.remove_image", "disk")]),
    ("storage.add", {"name": "s", "host": GONE, "path": "/srv/x"}, [missing("storage.add", "host")]),
    ("vm.add", {"name": "y", "domain": GONE, "disks": ["1M"]}, [missing("vm.add", "storage_domain")]),
    ("disk.add", DISK | {"domain": "sd9"}, [unnamed("disk.add", "domain", "storage_domain", "sd9")]),
    ("disk.add", DISK | {"size": 0}, [f"disk.add: size: {SMALL}"]),
    ("disk.add", DISK | {"size": -1}, [f"disk.add: size: {SMALL}"]),
    ("disk.add", DISK | {"size": "10EiB"}, [f"disk.add: size: {LARGE}"]),
    ("disk.add", DISK | {"size": 10 << 60}, [f"disk.add: size: {LARGE}"]),
    ("disk.add", DISK | {"format": "VMDK"}, ["disk.add: format: Input should be 'COW' or 'RAW'"]),
    ("vm.add", {"name": "y", "domain": "sd1", "disks": [1, "10EiB"]}, [f"vm.add: disks.1.size: {LARGE}"]),
    (
        "vm.add",
        {"name": "y", "domain": "sd1", "disks": [{"size": 1, "backing": "/etc/passwd"}]},
        [takes("vm.add", "disks.0.backing", UNEXPECTED)],
    ),
    (
        "storage.add",
        {"name": "s", "host": "h1", "path": "/srv/../etc"},
        [f"storage.add: path: {NOT_NORMAL}; {PATH_REMEDY}"],
    ),
    (
        "host.add",
        {"name": "h2", "address": "json:{}"},
        ["host.add: address: not a DNS name or an IP address; give one such as host1.example.org or 192.0.2.7"],
    ),
]


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(("command", "parameters", "reasons"), SUBMITTED)
def test_bad_parameters(site: Site, command: str, parameters: dict[str, Any], reasons: list[str]) -> None:
    with client(site) as api:
        answer = api.post("/jobs", json={"command": command, "parameters": parameters})
    error = "missing" if "does not exist" in reasons[0] else "invalid_input"
    assert (answer.status_code, answer.json()) == (422, {"error": error, "reasons": reasons})


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("version", [2, 10**18])
def test_an_unknown_version(site: Site, version: int) -> None:
    with client(site) as api:
        answer = api.post("/jobs", json={"command": "vm.add", "version": version, "parameters": {"name": "x"}})
    reason = f"vm.add has versions 1 to 1, not {version}; leave it out for the newest"
    assert (answer.status_code, answer.json()["reasons"]) == (422, [reason])


def parameters(text: bytes) -> bytes:
    return b'{"command": "vm.add", "parameters": ' + text + b"}"


TOO_MUCH = f"the body is larger than {BODY_SIZE_MAX} bytes; send less at once"
NOT_JSON = "the body is not JSON: "
NOT_UTF8 = "the body is not valid UTF-8 throughout; send JSON in UTF-8"
NO_OBJECT = "body: Input should be a valid dictionary or instance of Submission"

#: body, status, how the only reason begins
BODIES: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 422, NOT_JSON),
    "cut": (b'{"command": "vm.add"', 422, NOT_JSON),
    "garbage": (bytes(range(256)) * 40, 422, NOT_UTF8),
    "text": (b"name=web1", 422, NOT_JSON),
    "a list": (b"[]", 422, NO_OBJECT),
    "null": (b"null", 422, NO_OBJECT),
    "deep lists": (b"[" * 100_000, 422, NOT_JSON + "nested deeper than 32"),
    "deep objects": (parameters(b'{"a":' * 200 + b"1" + b"}" * 200), 422, NOT_JSON + "nested deeper than 32"),
    "one key twice": (parameters(b'{"name": "a", "name": "b"}'), 422, NOT_JSON + "a key is given twice in one object"),
    "NaN": (parameters(b'{"name": NaN}'), 422, NOT_JSON + "NaN is not a JSON value"),
    "half a character": (parameters(b'{"name": "\\ud800"}'), 422, NOT_UTF8),
    "a number of 5,000 digits": (parameters(b'{"name": 1' + b"0" * 5000 + b"}"), 422, NOT_JSON),
    "10 MB of one name": (parameters(b'{"name": "' + b"x" * 10_000_000 + b'"}'), 413, TOO_MUCH),
    "10 MB of brackets": (b"[" * 10_000_000, 413, TOO_MUCH),
    "an unknown key": (b'{"command": "vm.add", "extra": 1}', 422, "extra: Extra inputs are not permitted"),
    "no command": (b'{"parameters": {}}', 422, "command: Field required"),
    "a wrong command": (b'{"command": 7}', 422, "command: Input should be a valid string"),
    "wrong parameters": (parameters(b"[]"), 422, "parameters: Input should be a valid dictionary"),
    "a wrong version": (b'{"command": "vm.add", "version": "1"}', 422, "version: Input should be a valid integer"),
    "version 0": (b'{"command": "vm.add", "version": 0}', 422, "version: Input should be greater than or equal to 1"),
    "a wrong correlation id": (
        b'{"command": "vm.add", "parameters": {"name": "x"}, "correlation_id": "a\\r\\nb"}',
        422,
        "correlation_id: String should match pattern",
    ),
    "a wrong key": (
        b'{"command": "vm.add", "parameters": {"name": "x"}, "idempotency_key": "a b"}',
        422,
        "idempotency key 'a b'; use 1 to 200 printable characters without spaces",
    ),
}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("is_announced", [True, False])
@pytest.mark.parametrize("body", BODIES)
def test_bad_bodies(site: Site, body: str, is_announced: bool) -> None:
    """With a Content-Length, and in pieces without one."""
    data, status, begin = BODIES[body]
    content = data if is_announced else (data[at : at + 65536] for at in range(0, len(data), 65536))
    with client(site) as api:
        answer = api.post("/jobs", content=content, headers={"Content-Type": "application/json"})
    (reason,) = answer.json()["reasons"]
    assert (answer.status_code, reason[: len(begin)]) == (status, begin)
    assert len(answer.content) < 1000


@pytest.mark.usefixtures("untouched")
def test_what_is_said_of_a_body_is_bounded(site: Site) -> None:
    body = {"command": "vm.add"} | {f"{number}{'k' * 9000}": 1 for number in range(110)}
    with client(site) as api:
        answer = api.post("/jobs", json=body)
    reasons = [f"{number}{'k' * 9000}"[:200] + ": Extra inputs are not permitted" for number in range(100)]
    assert (answer.status_code, answer.json()["error"]) == (422, "invalid_input")
    assert answer.json()["reasons"] == [*reasons, "10 more are wrong; mend these first"]


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/jobs/garbage", 422),
        (f"/jobs/{GONE}", 404),
        ("/jobs?limit=0", 422),
        ("/jobs?limit=1e9", 422),
        ("/jobs?status=%00", 422),
        ("/entities/nothing", 404),
        ("/entities/vm/..%2f..%2fetc%2fpasswd", 404),
        ("/entities/vm/%00", 404),
        ("/locks?a=1", 422),
        ("/../../etc/passwd", 404),
    ],
)
def test_bad_questions(site: Site, path: str, status: int) -> None:
    with client(site) as api:
        answer = api.get(path)
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "reasons"}
    assert "Traceback" not in answer.text


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["vm.explode"], 64, "there is no command 'vm.explode'; `interlock commands` lists them"),
        (["vm.add", "name=x", "colour=red"], 64, takes("vm.add", "colour", UNEXPECTED)),
        (["vm.add", "name=x", "--version", "2"], 64, "vm.add has versions 1 to 1, not 2; leave it out for the newest"),
        (["vm.add", "name=-o"], 64, f"vm.add: name: the name begins with '-', like an option; {NAME_REMEDY}"),
        (["vm.add", "name=x", "disks:=[[["], 64, "disks: '[[[' is not JSON ("),
        (["disk.add", "name=d", "domain=sd1", "size=10EiB"], 64, f"disk.add: size: {LARGE}"),
        (["vm.remove", "vm=nobody"], 64, unnamed("vm.remove", "vm", "vm", "nobody")),
        (["vm.remove", f"vm={GONE}"], 64, missing("vm.remove", "vm")),
        (["vm.remove", "vm=a\x1b[31mb\nc"], 64, "vm.remove: vm: there is no vm named"),
    ],
)
def test_bad_command_lines(site: Site, words: list[str], code: int, reason: str) -> None:
    ran = program(site, "run", *words)
    assert (ran.returncode, ran.stdout) == (code, "")
    (line,) = ran.stderr.splitlines()
    assert line.startswith(f"interlock: {reason}")
    assert line.isprintable()


@pytest.mark.usefixtures("untouched")
def test_what_is_not_there_is_a_failure_and_not_a_usage_error(site: Site) -> None:
    for words in (["entity", "vm", "nobody"], ["job", "show", GONE]):
        ran = program(site, *words)
        assert (ran.returncode, ran.stdout) == (1, "")
        assert ran.stderr.startswith("interlock: there is no ")
        assert "Traceback" not in ran.stderr


def program(site: Site, *words: str) -> "subprocess.CompletedProcess[str]":
    """`interlock …` as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "interlock.cli", "--socket", str(site.socket), *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


CONNECT = b"CONNECT\naccept-version:1.2\nheart-beat:0,0\n\n\0"
SUBSCRIBE = b"SUBSCRIBE\ndestination:me\nack:auto\nid:s1\n\n\0"
LEAVE = b"DISCONNECT\n\n\0"


def request(body: bytes) -> bytes:
    """A conversation with one request in it, whose answer is waited for."""
    head = f"SEND\ndestination:jms.topic.vdsm_requests\nreply-to:me\ncontent-length:{len(body)}\n\n".encode()
    return CONNECT + SUBSCRIBE + head + body + b"\0"


def call(method: Any, params: Any) -> bytes:
    return request(json.dumps({"jsonrpc": "2.0", "id": "1", "method": method, "params": params}).encode())


#: bytes after which an agent ends the connection
GARBAGE: dict[str, bytes] = {
    "noughts": b"\0" * 1000,
    "noise": random.Random(1).randbytes(1 << 16) + b"\0",
    "HTTP": b"GET / HTTP/1.1\r\nHost: h1\r\n\r\n",
    "no version": b"CONNECT\n\n\0" + LEAVE,
    "SEND before CONNECT": b"SEND\ndestination:jms.topic.vdsm_requests\n\n{}\0",
    "a header without a colon": CONNECT + b"SEND\nnonsense\n\n\0",
    "a length too large": CONNECT + b"SEND\ncontent-length:99999999999999999999\n\n\0",
    "a length below nought": CONNECT + b"SEND\ncontent-length:-1\n\n\0",
    "an endless line": CONNECT + b"SEND\n" + b"a" * (1 << 20),
    "too many headers": CONNECT + b"SEND\n" + b"a:b\n" * 10_000,
    "an unknown command": CONNECT + b"EXPLODE\n\n\0" + LEAVE,
}
#: requests that are answered with an error
WRONG: dict[str, bytes] = {
    "no JSON": request(b"\xff\xfe not JSON"),
    "deep JSON": request(b"[" * 100_000),
    "too many requests at once": request(b"[" + b'{"jsonrpc": "2.0", "method": "x"},' * 5000 + b"{}]"),
    "an unknown method": call("Host.explode", {}),
    "a method that is no text": call(["Host"], {}),
    "params that are no object": call("Image.delete", [1, 2]),
    "wrong params": call("Image.delete", {"taskID": 7, "imageID": "../../etc"}),
    "ids that are paths": call(
        "Image.delete",
        dict.fromkeys(("taskID", "storagepoolID", "storagedomainID", "imageID"), "../../../../etc"),
    ),
}


@pytest.mark.usefixtures("untouched")
def test_an_agent_goes_on_serving_whatever_is_sent_to_its_port(site: Site) -> None:
    assert site.agent is not None
    port = int((site.folder / "agent" / "port").read_text())
    ours = site.state / "pki" / "coordinator"
    for name, garbage in GARBAGE.items():
        for certificates in (ours, None):
            said = sent(port, garbage, certificates)
            assert (b"Traceback" in said, b"MESSAGE" in said) == (False, False), name
    for name, wrong in WRONG.items():
        said = sent(port, wrong, ours)
        assert (b"Traceback" in said, b'"result"' in said, b'"error"' in said) == (False, False, True), name
    assert site.agent.poll() is None
    assert b'"result"' in sent(port, call("Host.ping2", {}), ours)


def sent(port: int, data: bytes, certificates: Path | None) -> bytes:
    """What an agent says to these bytes, up to the end of a message or of the connection.

    Over TLS where there are certificates. The agent may break off in the middle of what is sent.
    """
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as plain:
        end = plain if certificates is None else encrypted(plain, certificates)
        with suppress(ConnectionError, ssl.SSLError), end:
            end.sendall(data)
            while not (b"MESSAGE" in said and said.endswith(b"\0")) and (piece := end.recv(65536)):
                said += piece
    return said


def encrypted(plain: socket.socket, certificates: Path) -> ssl.SSLSocket:
    return client_context(certificates).wrap_socket(plain, server_hostname="h1")
