"""JSON-RPC bodies: what is read, what is refused with which code, what is built."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.wire import jsonrpc
from interlock.wire.jsonrpc import Batch, Invalid, Reply, Request, RpcError
from interlock.wire.limits import Limits

SMALL = Limits(batch_requests_max=3, json_depth_max=5)
PING = b'{"jsonrpc":"2.0","method":"Host.ping2","params":{},"id":"1"}'


@pytest.mark.parametrize(
    ("body", "batch"),
    [
        (PING, Batch((Request("Host.ping2", {}, "1"),))),
        (b"[" + PING + b"]", Batch((Request("Host.ping2", {}, "1"),))),
        (b"[" + PING + b"," + PING + b"]", Batch((Request("Host.ping2", {}, "1"),) * 2, in_array=True)),
        (b'{"jsonrpc":"2.0","method":"m"}', Batch((Request("m", {}, None, wants_reply=False),))),
        (b'{"jsonrpc":"2.0","method":"m","id":null}', Batch((Request("m", {}, None),))),
        (b'{"jsonrpc":"2.0","method":"m","id":7,"params":null}', Batch((Request("m", {}, 7),))),
        (
            b'{"jsonrpc":"2.0","method":"m","id":1.5,"params":{"a":[1]}}',
            Batch((Request("m", {"a": [1]}, 1.5),)),
        ),
    ],
)
def test_requests_are_read(body: bytes, batch: Batch) -> None:
    assert jsonrpc.read_requests(body, SMALL) == batch


@pytest.mark.parametrize(
    ("body", "code", "request_id"),
    [
        (b"", -32700, None),
        (b"{", -32700, None),
        (b"\xff", -32700, None),
        (b"\xef\xbb\xbf{}", -32700, None),
        (b'{"jsonrpc":"2.0","method":"m","id":NaN}', -32700, None),
        (b'{"jsonrpc":"2.0","method":"m","id":' + b"1" * 5000 + b"}", -32700, None),
        (b"[]", -32600, None),
        (b"[1,2,3,4]", -32600, None),
        (b"7", -32600, None),
        (b"null", -32600, None),
        (b"[[]]", -32600, None),
        (b"[[[[[[]]]]]]", -32600, None),
        (b"[" * 100_000 + b"]" * 100_000, -32600, None),
        (b'{"jsonrpc":"1.0","method":"m","id":"1"}', -32600, "1"),
        (b'{"method":"m","id":"1"}', -32600, "1"),
        (b'{"jsonrpc":"2.0","id":"1"}', -32600, "1"),
        (b'{"jsonrpc":"2.0","method":3,"id":"1"}', -32600, "1"),
        (b'{"jsonrpc":"2.0","method":"m","id":true}', -32600, None),
        (b'{"jsonrpc":"2.0","method":"m","id":{}}', -32600, None),
        (b'{"jsonrpc":"2.0","method":"m","id":1e999}', -32600, None),
        (b'{"jsonrpc":"2.0","method":"m","id":"1","params":"x"}', -32600, "1"),
        (b'{"jsonrpc":"2.0","method":"m","id":"1","params":[1]}', -32602, "1"),
    ],
)
def test_bad_requests_get_their_code_and_their_id(body: bytes, code: int, request_id: str | None) -> None:
    batch = jsonrpc.read_requests(body, SMALL)
    (entry,) = batch.entries
    assert isinstance(entry, Invalid)
    assert (entry.error.code, entry.id, batch.in_array) == (code, request_id, False)


@given(st.binary(max_size=100) | st.text(alphabet='{}[]":,0123456789.eE-\\ujsonrpcmethodid2 ').map(str.encode))
def test_no_body_breaks_the_reader(body: bytes) -> None:
    assert all(isinstance(entry, Request | Invalid) for entry in jsonrpc.read_requests(body).entries)


def test_replies_are_built_to_the_letter() -> None:
    one = jsonrpc.result("1", True)
    two = jsonrpc.failure(None, RpcError(-32601, "no such", {"m": 1}))
    assert one == b'{"jsonrpc":"2.0","id":"1","result":true}'
    assert two == b'{"jsonrpc":"2.0","id":null,"error":{"code":-32601,"message":"no such","data":{"m":1}}}'
    assert jsonrpc.reply_body([one], in_array=False) == one
    assert jsonrpc.reply_body([one, two], in_array=True) == b"[" + one + b"," + two + b"]"
    assert jsonrpc.request_body("1", "Host.ping2", {}) == b"[" + PING + b"]"
    assert jsonrpc.notification_body("|jobs|status|x", {"a": 1}) == (
        b'{"jsonrpc":"2.0","method":"|jobs|status|x","params":{"a":1}}'
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), b"bytes", {1: {2}}])
def test_what_json_cannot_carry_is_not_built(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        jsonrpc.result("1", value)


@pytest.mark.parametrize(
    ("value", "messages"),
    [
        ({"jsonrpc": "2.0", "id": "1", "result": None}, [Reply("1", None)]),
        ({"jsonrpc": "2.0", "id": "1", "result": [1], "error": None}, [Reply("1", [1])]),
        ([{"id": "1", "result": 1}, {"id": 2, "result": 2}], [Reply("1", 1), Reply(2, 2)]),
        (
            {"id": "1", "error": {"code": 410, "message": "not done", "data": 3}},
            [Reply("1", error=RpcError(410, "not done", 3))],
        ),
        ({"id": "1"}, [Reply("1", malformed=True)]),
        ({"id": "1", "error": "oops"}, [Reply("1", malformed=True)]),
        ({"id": "1", "error": {"code": "x", "message": "m"}}, [Reply("1", malformed=True)]),
        ({"jsonrpc": "2.0", "method": "e", "params": {"a": 1}}, [Request("e", {"a": 1}, wants_reply=False)]),
        ([3, None, {"id": [1]}, {"method": 3}], []),
    ],
)
def test_what_a_server_sends_is_read(value: object, messages: list[Reply | Request]) -> None:
    assert jsonrpc.read_messages(json.dumps(value).encode()) == messages


def test_what_a_server_sends_may_not_be_garbage() -> None:
    with pytest.raises(RpcError, match="not JSON"):
        jsonrpc.read_messages(b"}")


def test_an_error_says_code_and_message() -> None:
    error = jsonrpc.method_not_found("No.such")
    assert (str(error), error.data) == (
        "The method 'No.such' does not exist or is not available (code -32601)",
        None,
    )
    assert error != RpcError(-32601, "another")
    assert {error} == {jsonrpc.method_not_found("No.such")}
