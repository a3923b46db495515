"""Lanes: frames are told apart by their heads, the same one by one and at one look."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truetape.events.run import Integers, Run
from truetape.venues._contract import Lane
from truetape.venues._lanes import Lanes

HEADS = [b'{"stream":"btcusdt@trade', b'{"stream":"btcusdt@depth', b'{"stream":"btcusd@trade', b'{"stream":"a']


def read_nothing(payloads: object, stream: Integers, received_ns: Integers, offset: Integers) -> Run:
    raise NotImplementedError


def make_lanes() -> Lanes:
    lanes = Lanes()
    for index, head in enumerate(HEADS):
        lanes.add(head, Lane(read_nothing, index))
    return lanes


heads = st.sampled_from([*HEADS, b'{"stream":"btcusdt', b"", b'{"result":null', b'{"stream":"zzz'])


@given(
    st.lists(
        st.tuples(heads, st.sampled_from([b'","data":{}}', b'", "data":{}}', b"", b'"}'])), min_size=1, max_size=20
    )
)
def test_each_frame_has_the_lane_of_its_head(found: list[tuple[bytes, bytes]]) -> None:
    payloads = [head + tail for head, tail in found]
    known = {head: code for code, head in enumerate(HEADS)}
    wanted = [known.get(payload.partition(b'",')[0], -1) for payload in payloads]
    lanes = make_lanes()
    assert lanes.sort(payloads).tolist() == wanted
    assert lanes.sort_slowly(payloads) == wanted


@pytest.mark.parametrize("name", ["sort", "sort_slowly"])
def test_frames_of_one_head_are_told_at_one_look(name: str) -> None:
    lanes = make_lanes()
    sort = lambda payloads: [*getattr(lanes, name)(payloads)]  # noqa: E731
    assert sort([HEADS[1] + b'","data":%d}' % i for i in range(50)]) == [1] * 50
    assert sort([b'{"stream":"unknown","data":1}'] * 3) == [-1] * 3
    assert [lane.stream for lane in lanes.listed] == [0, 1, 2, 3]
    lanes.clear()
    assert sort([HEADS[1] + b'","data":1}']) == [-1]
    assert not lanes.listed
