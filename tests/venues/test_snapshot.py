"""Snapshot services: forms as data, answers of the common form and of the presets, what is refused, replay by the tape alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from truetape.errors import ConfigError, DecodeError
from truetape.events.rows import Response, Rows, Scribe
from truetape.sim.protocol import Query
from truetape.sim.venues.snapshot import answer
from truetape.venues._snapshot.answer import read_history, read_listing, read_market, read_prices
from truetape.venues._snapshot.form import (
    PRESETS,
    Form,
    make_form,
    name_form,
    read_form,
    read_meaning,
    write_meaning,
    write_url,
)
from truetape.venues.snapshot import VENUE, find_winner, name_instrument

COMMON = PRESETS["common"]
DUE_US, NOW_NS = 1_767_557_700_000_000, 1_767_557_701_000_000_000


def encode(value: object) -> bytes:
    return json.dumps(value).encode()


class Desk:
    """A decoder and what it wrote."""

    def __init__(self) -> None:
        self.rows = Rows()
        self.decoder = VENUE.make_decoder(Scribe("snapshot", self.rows))
        self.offset = 0

    def take(self, what: str, body: object, market: str = "", form: str = "common", status: int = 200) -> None:
        url = write_meaning("https://x.test/markets", what, form, market, (DUE_US, 900.0))
        self.offset += 1
        raw = body if isinstance(body, bytes) else encode(body)
        assert self.decoder.respond(Response("svc", "snapshot/svc", url, status, raw, NOW_NS, self.offset))

    def list(self, kind: str) -> list[tuple[Any, ...]]:
        return self.rows.plain.get(kind, [])


def test_a_snapshot_joins_what_the_listing_said_with_the_prices() -> None:
    desk = Desk()
    listed = {"id": "7", "question": "Rain?", "category": "weather", "status": "open", "volume": "12.5",
              "closes_at": "2026-02-01T00:00:00Z"}  # fmt: skip
    desk.take("listing", {"markets": [listed], "next_cursor": ""})
    desk.take("prices", {"prices": {"Yes": 0.61, "No": "0.42"}, "updated_at": 1767557690}, "7")
    (row,) = desk.list("market_snapshot")
    assert row[1:4] == (1767557690_000_000, NOW_NS, 2)
    assert row[4:10] == ("svc", "7", DUE_US, 900.0, "Rain?", "weather")
    assert row[10:] == ("open", False, '{"Yes":0.61,"No":0.42}', 0.61, 0.42, 1.03, 12.5, None, 1769904000_000_000)
    assert [(r[5], r[6], r[7]) for r in desk.list("outcome_price")] == [("Yes", 0.61, "svc"), ("No", 0.42, "svc")]
    assert desk.rows.streams[row[0]].symbol == "svc/7"
    assert len(desk.list("prediction_market")) == 1
    desk.take("prices", {"prices": {"Yes": 0.7, "No": 0.3}}, "7")
    assert len(desk.list("prediction_market")) == 1  # nothing of it changed
    desk.take("market", {**listed, "status": "resolved", "result": "yes"}, "7")
    desk.take("prices", {"prices": {"Yes": 1, "No": 0}}, "7")
    assert len(desk.list("prediction_market")) == 2
    (resolution,) = desk.list("resolution")
    assert resolution[4:6] == ("7", "svc/7")
    assert "Yes" in resolution
    assert desk.list("market_snapshot")[-1][11] is True


def test_history_is_prices_of_other_times() -> None:
    desk = Desk()
    points = [{"timestamp": 1767500000, "prices": {"Yes": 0.5}}, {"timestamp": 1767500000_500, "prices": {"Yes": 0.6}}]
    desk.take("history", {"history": points}, "7")
    assert [(r[1], r[6], r[7]) for r in desk.list("outcome_price")] == [
        (1767500000_000_000, 0.5, "svc history"),
        (1767500000_500_000, 0.6, "svc history"),
    ]


def test_the_address_says_how_its_answer_is_read() -> None:
    form = make_form("s", "common", "https://x.test/api/", {"prices": "/p?m={id}"}, {"prices": "data.px"})
    named = name_form(form, "common")
    again = read_form(named)
    assert (again.paths, again.fields) == (form.paths, form.fields)
    assert name_form(make_form("s", "common", "https://y.test", {}, {}), "common") == "common"
    url = write_meaning(write_url(form, "prices", "a/b"), "prices", named, "a/b", (DUE_US, 2.5))
    assert url.startswith("https://x.test/api/p?m=a%2Fb#")
    assert read_meaning(url) == ("prices", again, "a/b", DUE_US, 2.5)
    desk = Desk()
    desk.take("prices", {"data": {"px": {"Up": 0.5}}}, "a/b", named)
    assert desk.list("market_snapshot")[0][12:16] == ('{"Up":0.5}', None, None, None)
    for broken in ("https://x.test", "https://x.test#what=prices&form=nix&id=1&due=1&every=1"):
        with pytest.raises(DecodeError):
            read_meaning(broken)
    with pytest.raises(DecodeError, match="allowed: listing"):
        desk.take("nonsense", {})


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("listing", {"markets": {}}),
        ("listing", {"data": []}),
        ("listing", {"markets": [{"question": "no id"}]}),
        ("listing", {"markets": [{"id": "7", "status": "sleeping"}]}),
        ("listing", {"markets": [{"id": "7", "status": "open", "volume": "much"}]}),
        ("listing", {"markets": [{"id": "7", "status": "open", "question": 5}]}),
        ("market", {"id": "8", "status": "open"}),
        ("prices", {"Yes": 0.5}),
        ("prices", {"prices": {}}),
        ("prices", {"prices": {"Yes": None}}),
        ("prices", {"prices": {"Yes": "cheap"}}),
        ("prices", {"prices": [0.5, 0.5]}),
        ("prices", {"prices": {"Yes": 0.5}, "updated_at": "yesterday"}),
        ("prices", []),
        ("history", {"history": [{"prices": {"Yes": 1}}]}),
        ("history", {}),
    ],
)
def test_another_form_is_refused(what: str, body: object) -> None:
    with pytest.raises(DecodeError):
        Desk().take(what, body, "7")


def test_polymarket_puts_json_into_json() -> None:
    market = {
        "id": "512", "question": "Q", "category": "Crypto", "closed": False, "volumeNum": 9.5, "liquidityNum": 2,
        "endDate": "2026-12-31T12:00:00Z", "outcomes": '["Yes", "No"]', "outcomePrices": '["0.25", "0.75"]',
    }  # fmt: skip
    form = PRESETS["polymarket"]
    (found,), cursor = read_listing(form, encode({"markets": [market], "next_cursor": "abc"}))
    assert (found.id, found.status, found.prices, cursor) == ("512", "open", {"Yes": 0.25, "No": 0.75}, "abc")
    assert write_url(form, "markets", cursor="a b").endswith("closed=false&after_cursor=a+b")
    over = {**market, "closed": True, "umaResolutionStatus": "resolved", "outcomePrices": '["0", "1"]'}
    ended = read_prices(form, encode(over), "512")
    assert ended.status == "resolved"
    assert find_winner(ended.prices, ended.result) == "No"
    assert read_market(form, encode({**market, "closed": True}), "512").status == "closed"


def test_kalshi_states_what_either_side_costs_and_manifold_one_probability() -> None:
    kalshi = {"ticker": "KX-1", "title": "T", "status": "active", "yes_ask_dollars": "0.5600", "no_ask_dollars": "0.4700",
              "volume_fp": "10.00", "close_time": "2026-05-01T00:00:00Z", "result": ""}  # fmt: skip
    found = read_prices(PRESETS["kalshi"], encode({"market": kalshi}), "KX-1")
    assert (found.prices, found.status, found.result) == ({"Yes": 0.56, "No": 0.47}, "open", None)
    manifold = {"id": "abc", "question": "Q", "isResolved": False, "probability": 0.3, "volume": 3, "closeTime": 4102444800000,
                "outcomeType": "BINARY"}  # fmt: skip
    (market,), cursor = read_listing(PRESETS["manifold"], encode([manifold]))
    assert (market.prices, market.status, market.closes_us, cursor) == ({"Yes": 0.3}, "open", 4102444800_000_000, "")


def test_prices_may_be_a_list_of_objects() -> None:
    fields = {**COMMON.fields, "prices": "o", "outcome_name": "n", "outcome_price": "p"}
    body = {"o": [{"n": "A", "p": 0.2}, {"n": "B", "p": 0.3}]}
    assert read_prices(Form(COMMON.paths, fields), encode(body), "1").prices == {"A": 0.2, "B": 0.3}


def test_recorded_gamma_markets_are_read(recordings: Path) -> None:
    """The preset's fields are those of real answers: open, closed, resolved, of old forms, of sports."""
    found = []
    for path in sorted((recordings / "prediction/fixtures/nautilus/crate_test_data").glob("gamma_market*.json")):
        body = json.loads(path.read_text())
        market = body[0] if isinstance(body, list) else body
        found.append(read_prices(PRESETS["polymarket"], encode(market), str(market["id"])))
        assert (found[-1].question, len(found[-1].prices)) == (market["question"], 2)
        assert found[-1].closes_us is not None
    assert [one.status for one in found] == ["open", "resolved", *["closed"] * 3, *["resolved"] * 2]


def test_manifolds_results_name_answers_by_their_ids() -> None:
    said = {"id": "m", "question": "Who?", "isResolved": True, "resolution": "b2", "answers": [
        {"id": "a1", "text": "Ada", "probability": 0.1}, {"id": "b2", "text": "Grace", "probability": 0.9}]}  # fmt: skip
    market = read_prices(PRESETS["manifold"], encode(said), "m")
    assert (market.prices, market.result) == ({"Ada": 0.1, "Grace": 0.9}, "Grace")
    assert find_winner(market.prices, market.result) == "Grace"
    for result, winner in (("YES", "Yes"), ("NO", "No"), ("MKT", None), ("CANCEL", None)):
        assert find_winner({"Yes": 0.2}, result) == winner
    points = read_history(PRESETS["manifold"], encode([
        {"createdTime": 1659482775970, "probAfter": 0.57}, {"createdTime": 1659482757271, "probAfter": 0.53, "answerId": "b2"}
    ]))  # fmt: skip
    assert [(point.at_us, point.prices) for point in points] == [
        (1659482775970_000, {"Yes": 0.57}), (1659482757271_000, {"b2": 0.53})
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"preset": "comon"}, "did you mean common"),
        ({"fields": {"prics": "x"}}, "s.fields: 'prics' is not known"),
        ({"paths": {"price": "x"}}, "s.paths: 'price' is not known"),
        ({"paths": {"prices": "/prices"}}, "has no {id}"),
        ({"paths": {"markets": ""}}, "s.paths.markets: is empty"),
        ({"url": ""}, "s.url: '' is not an http"),
        ({"url": "ftp://x"}, "s.url"),
    ],
)
def test_forms_that_cannot_be(change: dict[str, Any], told: str) -> None:
    given: dict[str, Any] = {"preset": "common", "url": "https://x.test", "paths": {}, "fields": {}, **change}
    with pytest.raises(ConfigError, match=told.replace("{", r"\{")):
        make_form("s", **given)


def test_the_fake_speaks_the_common_form() -> None:
    at_s = 1_795_255_200.0
    (markets, _) = read_listing(COMMON, answer(1, Query("", "/markets", {"status": "open"}), at_s).body)
    assert len(markets) == 40
    for market in markets[:9]:
        path = f"/markets/{market.id}"
        assert read_market(COMMON, answer(1, Query("", path, {}), at_s).body, market.id).id == market.id
        prices = read_prices(COMMON, answer(1, Query("", f"{path}/prices", {}), at_s).body, market.id).prices
        assert all(0 < price < 1 for price in prices.values())
        assert len(read_history(COMMON, answer(1, Query("", f"{path}/history", {}), at_s).body)) == 24
    assert answer(1, Query("", "/markets/m99/prices", {}), at_s).status == 404
    assert answer(1, Query("", "/markets/m01/nothing", {}), at_s).status == 404
    page, cursor = read_listing(COMMON, answer(1, Query("", "/markets", {"limit": "7", "cursor": "35"}), at_s).body)
    assert (len(page), cursor) == (5, "")


def test_a_fake_market_ends_and_pays() -> None:
    at_s = 1_795_255_200.0
    (markets, _) = read_listing(COMMON, answer(1, Query("", "/markets", {}), at_s).body)
    short = next(market for market in markets if market.closes_us)
    assert short.closes_us is not None
    later_s = short.closes_us / 1e6 + 6000
    ended = read_market(COMMON, answer(1, Query("", f"/markets/{short.id}", {}), later_s).body, short.id)
    assert ended.status == "resolved"
    paid = read_prices(COMMON, answer(1, Query("", f"/markets/{short.id}/prices", {}), later_s).body, short.id)
    assert find_winner(paid.prices, ended.result) == ended.result
    assert name_instrument("svc", "7:Yes").symbol == "svc/7:Yes"
