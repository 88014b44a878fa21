"""Messages as bytes: there and back, held against the safetensors library, and 20,000 malformed ones."""

from __future__ import annotations

import json
import math
import random
import struct
import time
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from addon.wire import messages, payload
from addon.wire.errors import ERRORS, LatheError, MalformedPayload, Remedy, error_from_dict, error_to_dict
from tests.wire import examples

MALFORMED = 10_000  # of each kind


@pytest.mark.parametrize("message", examples.JSON, ids=lambda message: type(message).__name__)
def test_json_comes_back_as_it_went(message: Any) -> None:
    data = payload.to_json(message)
    assert payload.from_json(type(message), data) == message
    assert payload.to_json(payload.from_json(type(message), data)) == data


def test_every_request_and_packed_message_is_among_the_examples() -> None:
    assert {type(message) for message in examples.JSON} >= set(messages.REQUESTS.values())
    assert {type(message) for message in examples.arrays()} == set(messages.PACKED.values())


@pytest.mark.parametrize("message", examples.arrays(), ids=lambda message: type(message).__name__)
def test_arrays_come_back_as_they_went(message: Any) -> None:
    data = payload.pack(message)
    assert examples.same(payload.unpack(data), message)
    assert b"".join(payload.pack_parts(message)) == data
    assert payload.pack(payload.unpack(data)) == data


@pytest.mark.parametrize("message", examples.arrays(), ids=lambda message: type(message).__name__)
def test_the_safetensors_library_reads_what_we_write(message: Any) -> None:
    read = safetensors.numpy.load(payload.pack(message))
    written = {name: value for name, value in vars(message).items() if isinstance(value, np.ndarray)}
    assert read.keys() == written.keys()
    for name, array in written.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)


@pytest.mark.parametrize("message", examples.arrays(), ids=lambda message: type(message).__name__)
def test_we_read_what_the_safetensors_library_writes(message: Any) -> None:
    arrays = {name: value for name, value in vars(message).items() if isinstance(value, np.ndarray)}
    data = payload.pack(message)
    (length,) = struct.unpack("<Q", data[:8])
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    assert examples.same(payload.unpack(safetensors.numpy.save(arrays, metadata)), message)


def test_unpacked_arrays_are_views_of_the_bytes_that_came() -> None:
    buffer = bytearray(payload.pack(examples.arrays()[0]))
    image = payload.unpack(buffer)
    buffer[-4:] = struct.pack("<f", 42.0)
    assert image.normal[-1, -1, -1] == 42.0
    assert not payload.unpack(bytes(buffer)).rgba.flags.writeable


def test_arrays_that_are_not_contiguous_or_of_another_type_are_sent_right_or_refused() -> None:
    image = np.ones((4, 6, 4), np.float32)[:, ::2]
    back = payload.unpack(payload.pack(messages.ImageResult(image, image[..., 0])))
    np.testing.assert_array_equal(back.rgba, image)
    with pytest.raises(MalformedPayload, match="complex"):
        payload.pack(messages.CodeBlob(np.ones((1, 2), np.complex64)))
    with pytest.raises(MalformedPayload):
        payload.to_json(messages.JobEvent(1, "a", "done", math.nan))


@pytest.mark.parametrize(
    "text",
    [
        b"", b"null", b"[]", b"{", b"{}x", b"\xff", b'{"job": 1}', b'{"job": "a", "job": "b"}', b'{"jobs": "a"}',
        b'{"job": "a", "more": 1}', b"[" * 5000, b'{"job":' * 3000, b"1e999", b"9" * 10_000,
    ],
)  # fmt: skip
def test_json_that_is_not_a_message_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedPayload):
        payload.from_json(messages.Submitted, text)


def test_a_wrong_field_is_named_by_its_path() -> None:
    data = json.loads(payload.to_json(examples.JSON[0]))
    data["scene"]["latent"]["seed_a"] = "one"
    with pytest.raises(MalformedPayload, match=r"scene\.latent\.seed_a"):
        payload.from_plain(messages.RenderRequest, data)


def mutated(data: bytes, dice: random.Random) -> bytes:
    """Return the bytes with a few flips, cuts, repeats, swaps of numbers and the like."""
    result = bytearray(data)
    for _ in range(dice.randrange(1, 5)):
        if not result:
            break
        at = dice.randrange(len(result))
        match dice.randrange(7):
            case 0:
                result[at] ^= 1 << dice.randrange(8)
            case 1:
                del result[at : at + dice.randrange(1, 40)]
            case 2:
                result[at:at] = dice.randbytes(dice.randrange(1, 20))
            case 3:
                result[at:at] = result[at : at + 60]
            case 4:
                del result[at:]
            case 5:
                result[at : at + 1] = dice.choice(
                    [b"-1", b"1e400", b"99999999999999999999", b"null", b"true", b"NaN", b'"', b"[", b"{", b"\\u0000"]
                )
            case 6:
                result[:8] = struct.pack("<Q", dice.choice([0, 1, 2**63, 2**64 - 1, len(data), dice.randrange(2000)]))
    return bytes(result)


def restructured(value: Any, dice: random.Random) -> Any:
    """Return parsed JSON with one part of it replaced, dropped or added."""
    if isinstance(value, dict) and value and dice.random() < 0.85:
        changed = dict(value)
        name = dice.choice(list(changed))
        match dice.randrange(6):
            case 0:
                del changed[name]
            case 1:
                changed[name + "x"] = changed.pop(name)
            case _:
                changed[name] = restructured(changed[name], dice)
        return changed
    if isinstance(value, list) and value and dice.random() < 0.85:
        changed_list = list(value)
        at = dice.randrange(len(changed_list))
        match dice.randrange(4):
            case 0:
                del changed_list[at]
            case 1:
                changed_list.append(changed_list[at])
            case _:
                changed_list[at] = restructured(changed_list[at], dice)
        return changed_list
    nested: Any = 0
    for _ in range(200):
        nested = [nested]
    return dice.choice(
        [
            None,
            True,
            -1,
            0,
            1.5,
            2**70,
            -(2**70),
            1e308,
            "",
            "x" * 1000,
            "../../etc/passwd",
            [],
            {},
            nested,
            [[]],
            {"a": 1},
        ]
    )


def test_malformed_json_is_refused_and_nothing_else() -> None:
    dice, refused, started = random.Random(1), 0, time.monotonic()
    texts = [(type(message), payload.to_json(message)) for message in examples.JSON]
    for number in range(MALFORMED):
        kind, text = texts[number % len(texts)]
        if dice.random() < 0.5:
            data = mutated(text, dice)
        else:
            data = json.dumps(restructured(json.loads(text), dice)).encode()
        try:
            message = payload.from_json(kind, data)
        except LatheError as error:
            assert error.http_status < 500 and error.message
            refused += 1
        else:
            assert payload.from_json(kind, payload.to_json(message)) == message
    assert refused > MALFORMED / 2
    assert time.monotonic() - started < 60


def test_malformed_packed_bytes_are_refused_and_nothing_else() -> None:
    dice, refused, started = random.Random(2), 0, time.monotonic()
    packed = [payload.pack(message) for message in examples.arrays()]
    for number in range(MALFORMED):
        data = packed[number % len(packed)]
        if dice.random() < 0.5:
            data = mutated(data, dice)
        else:
            (length,) = struct.unpack("<Q", data[:8])
            header = restructured(json.loads(data[8 : 8 + length]), dice)
            text = json.dumps(header).encode()
            data = struct.pack("<Q", len(text)) + text + data[8 + length :]
        try:
            message = payload.unpack(data)
        except MalformedPayload as error:
            assert error.message
            refused += 1
        else:
            assert examples.same(payload.unpack(payload.pack(message)), message)
    assert refused > MALFORMED / 2
    assert time.monotonic() - started < 60


def test_random_bytes_are_refused() -> None:
    dice = random.Random(3)
    for _ in range(2000):
        data = dice.randbytes(dice.randrange(200))
        with pytest.raises(MalformedPayload):
            payload.unpack(data)
        with pytest.raises(LatheError):
            payload.from_json(messages.RenderRequest, data)


@pytest.mark.parametrize("shape", [[2**39, 2**39, 0], [0, 2**39, 2**39, 2**39]])
def test_an_empty_array_of_an_impossible_shape_is_refused(shape: list[int]) -> None:
    header = {
        "__metadata__": {"message": "ScanBlob", "fields": "{}"},
        "points": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]},
    }
    text = json.dumps(header).encode()
    with pytest.raises(MalformedPayload, match="impossible shape"):
        payload.unpack(struct.pack("<Q", len(text)) + text)


def test_numbers_without_end_and_halves_of_characters_are_refused() -> None:
    plain: dict[str, Any] = {"name": "a", "files": {"a.png": "0" * 64}}
    payload.from_plain(messages.FitRequest, plain)
    for change in ({"options": {"steps": 10**4000}}, {"name": "\ud800"}, {"files": {"\ud800.png": "0" * 64}}):
        with pytest.raises(MalformedPayload):
            payload.from_plain(messages.FitRequest, plain | change)


def test_a_header_cannot_claim_more_than_there_is() -> None:
    for shape, offsets in (([2**39, 2**39], [0, 8]), ([2**20, 2**20], [0, 2**42]), ([0], [0, 0]), ([1], [4, 8])):
        header = {
            "__metadata__": {"message": "CodeBlob", "fields": "{}"},
            "ws": {"dtype": "F32", "shape": shape, "data_offsets": offsets},
        }
        text = json.dumps(header).encode()
        data = struct.pack("<Q", len(text)) + text + bytes(8)
        with pytest.raises(MalformedPayload):
            payload.unpack(data)


@pytest.mark.parametrize("code", ERRORS)
def test_every_error_survives_the_wire(code: str) -> None:
    error = ERRORS[code]("What happened", remedy=Remedy("set_level", "Set it", 0.5))
    info = payload.from_plain(messages.ErrorInfo, error_to_dict(error))
    back = error_from_dict(json.loads(payload.to_json(info)))
    assert type(back) is type(error) and back.message == error.message and back.remedy == error.remedy


@pytest.mark.parametrize("data", [None, [], "x", {}, {"code": 1}, {"code": "no", "message": 3, "remedy": []}])
def test_an_error_of_an_unknown_form_is_still_an_error(data: Any) -> None:
    assert isinstance(error_from_dict(data), LatheError)
