"""The messages between Blender and the backend: encoding and decoding are inverse, everything else is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract import errors, protocol
from backend.contract.protocol import Error, Hello, Message, Note, Preview, Progress, Request, Result

text = st.text(max_size=40)
whole = st.integers(-(2**40), 2**40)
number = st.floats(-protocol.MAX_EXACT_INTEGER, protocol.MAX_EXACT_INTEGER)
json_value = st.recursive(
    st.none() | st.booleans() | whole | number | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
json_object = st.dictionaries(text, json_value, max_size=4)
messages = st.one_of(
    st.builds(Hello, protocol=whole, version=text, device=text, device_name=text, pid=whole),
    st.builds(Progress, id=text, stage=text, done=whole, total=whole, eta=number, message=text),
    st.builds(Note, id=text, message=text),
    st.builds(Preview, id=text, path=text, width=whole, height=whole, frame=whole),
    st.builds(Result, id=text, data=json_object),
    st.builds(Error, id=text, code=text, message=text, remedy=text, log=text),
    st.builds(Request, id=text, verb=text, data=json_object),
)


@given(messages)
def test_encoded_message_is_decoded_unchanged(message: Message) -> None:
    line = protocol.encode_message(message)
    assert "\n" not in line and line.isascii()
    assert protocol.decode_message(line) == message
    assert protocol.decode_message(line + "\n") == message


@given(messages, text, json_value)
def test_a_field_of_a_later_version_is_ignored(message: Message, name: str, value: object) -> None:
    data = json.loads(protocol.encode_message(message))
    data.setdefault(f"later_{name}", value)
    assert protocol.decode_message(json.dumps(data)) == message


@given(st.text(max_size=80))
def test_random_text_is_refused_as_message(line: str) -> None:
    with pytest.raises(ValueError):
        protocol.decode_message(line)


@given(json_value)
def test_other_json_is_refused_as_message(value: object) -> None:
    with pytest.raises(ValueError):
        protocol.decode_message(json.dumps(value))


@given(messages, st.data())
def test_field_of_another_type_is_refused(message: Message, data: st.DataObject) -> None:
    fields = json.loads(protocol.encode_message(message))
    name = data.draw(st.sampled_from(sorted(set(fields) - {"event"})))
    fields[name] = data.draw(st.sampled_from([None, [1], True]))
    with pytest.raises(ValueError):
        protocol.decode_message(json.dumps(fields))


@pytest.mark.parametrize("name", ["id", "stage", "done", "total"])
def test_message_without_a_required_field_is_refused(name: str) -> None:
    fields = json.loads(protocol.encode_message(Progress("job", "train", 1, 2)))
    del fields[name]
    with pytest.raises(ValueError):
        protocol.decode_message(json.dumps(fields))


def test_too_long_line_is_refused() -> None:
    short = protocol.encode_message(Note("job", "x" * 100))
    long = protocol.encode_message(Note("job", "x" * protocol.MAX_LINE_BYTES))
    assert protocol.decode_message(short) == Note("job", "x" * 100)
    with pytest.raises(ValueError, match="longer"):
        protocol.decode_message(long)


def test_deeply_nested_json_is_refused() -> None:
    with pytest.raises(ValueError):
        protocol.decode_message('{"event": "result", "id": "job", "data": ' + "[" * 200_000 + "]" * 200_000 + "}")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_value_that_json_cannot_represent_is_not_encoded(value: float) -> None:
    with pytest.raises(ValueError):
        protocol.encode_message(Progress("job", "train", 1, 2, eta=value))


def test_user_error_text_is_message_and_remedy() -> None:
    error = errors.UserError("no_face", "No face was found.", "Choose another video.")
    assert str(error) == "No face was found. Choose another video."
    assert (error.code, error.exit_code) == ("no_face", 2)
    assert str(errors.UserError("no_face", "No face was found.")) == "No face was found."
