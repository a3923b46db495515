"""Events and markets as the fake Gamma writes them: JSON inside JSON, and numbers of mixed sorts."""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from zlib import crc32

from truetape.sim.ladder import COARSE
from truetape.sim.oracle import E18
from truetape.sim.prediction import Market
from truetape.sim.spec import write_short
from truetape.sim.venues._clob_frames import describe
from truetape.sim.venues._updown import name_series, name_title
from truetape.sim.world import World

IMAGE = "https://polymarket-upload.s3.us-east-2.amazonaws.com/{}+fullsize.png"
CLOSED_LAG_S = 20
"""A resolved market is shown as closed so long after at the earliest, for answers are cached on their way."""
TAGS = (("21", "Crypto", "crypto"), ("102127", "Up or Down", "up-or-down"), ("101757", "Recurring", "recurring"))
EARLY_S = 60
"""Nobody trades earlier than this before the window."""
ZOMBIE_EVERY = 10
ZOMBIE_AGE_S = 6 * 3600


def is_closed(market: Market, at_s: float) -> bool:
    """Tell whether a market is shown as closed at a time."""
    return at_s >= market.resolved_s + CLOSED_LAG_S + crc32(market.slug.encode()) % 60


def is_zombie(market: Market, at_s: float) -> bool:
    """Tell whether lists go on showing an old market as an open one."""
    return market.ends_s < at_s - ZOMBIE_AGE_S and crc32(market.slug.encode()) % ZOMBIE_EVERY == 0


def describe_event(world: World, market: Market, at_s: float, *, is_listed_open: bool = False) -> dict[str, Any]:
    """Write the event that holds one market, as of a time."""
    is_over = is_closed(market, at_s) and not is_listed_open
    number, series = name_series(market)
    event: dict[str, Any] = {
        "id": str(market.event_number),
        "ticker": market.slug,
        "slug": market.slug,
        "title": name_title(market),
        "description": describe(market),
        "resolutionSource": market.source,
        "startDate": write_time(market.created_s + 4, 894_153),
        "creationDate": write_time(market.created_s + 4, 894_149),
        "endDate": write_time(market.ends_s),
        "image": IMAGE.format(market.asset),
        "icon": IMAGE.format(market.asset),
        "active": True,
        "closed": is_over,
        "archived": False,
        "new": False,
        "featured": False,
        "restricted": True,
        "liquidity": 0 if is_over else 13350.3218,
        "volume": find_volume(market, at_s),
        "openInterest": 0,
        "createdAt": write_time(market.created_s, 220_426),
        "updatedAt": write_time(find_update(market, at_s), 688_255),
        "competitive": 0.9997750506136119,
        "enableOrderBook": True,
        "negRisk": False,
        "commentCount": 0,
        "markets": [describe_market(world, market, at_s, is_listed_open=is_listed_open)],
        "series": [{"id": number, "ticker": series, "slug": series, "recurrence": market.series}],
        "tags": [{"id": one, "label": label, "slug": slug} for one, label, slug in TAGS],
        "cyom": False,
        "startTime": write_time(market.opens_s),
        "seriesSlug": series,
        "version": market.version,
        **_describe_rule(market),
        **_describe_prices(market, at_s),
    }
    if is_over:
        event["closedTime"] = write_time(market.resolved_s)
    return event


def refer_event(market: Market, at_s: float) -> dict[str, Any]:
    """Write an event as a market's own object names it."""
    number, series = name_series(market)
    return {
        "id": str(market.event_number),
        "ticker": market.slug,
        "slug": market.slug,
        "title": name_title(market),
        "resolutionSource": market.source,
        "startTime": write_time(market.opens_s),
        "endDate": write_time(market.ends_s),
        "closed": is_closed(market, at_s),
        "seriesSlug": series,
        "series": [{"id": number, "slug": series, "recurrence": market.series}],
        **_describe_prices(market, at_s),
    }


def describe_market(world: World, market: Market, at_s: float, *, is_listed_open: bool = False) -> dict[str, Any]:
    """Write a market, as of a time."""
    is_over = is_closed(market, at_s) and not is_listed_open
    return {
        **_describe_names(market),
        **_describe_times(market, at_s),
        **_describe_tokens(market),
        **_describe_sums(find_volume(market, at_s), is_over=is_over),
        "closed": is_over,
        "acceptingOrders": not is_over,
        **_describe_book(world, market, at_s, is_over=is_over),
        **_describe_resolution(market, at_s, is_over=is_over),
        **_SETTINGS,
        "version": market.version,
        **_describe_rule(market),
    }


_SETTINGS: Mapping[str, Any] = MappingProxyType(
    {
        "active": True,
        "marketMakerAddress": "",
        "new": False,
        "featured": False,
        "archived": False,
        "restricted": True,
        "groupItemThreshold": "0",
        "enableOrderBook": True,
        "orderMinSize": 5,
        "hasReviewedDates": True,
        "makerBaseFee": 1000,
        "takerBaseFee": 1000,
        "negRisk": False,
        "ready": False,
        "funded": False,
        "cyom": False,
        "competitive": 0.9997750506136119,
        "pagerDutyNotificationEnabled": False,
        "approved": True,
        "rewardsMinSize": 0,
        "rewardsMaxSpread": 0,
        "automaticallyActive": True,
        "clearBookOnStart": False,
        "showGmpSeries": False,
        "showGmpOutcome": False,
        "manualActivation": False,
        "negRiskOther": False,
        "pendingDeployment": False,
        "deploying": False,
        "rfqEnabled": False,
        "holdingRewardsEnabled": False,
        "feesEnabled": True,
        "requiresTranslation": False,
        "makerRebatesFeeShareBps": 10000,
        "feeType": "crypto_fees_v2",
        "feeSchedule": {"exponent": 1, "rate": 0.07, "takerOnly": True, "rebateRate": 0.2},
    }
)
"""What all these markets have alike."""


def _describe_names(market: Market) -> dict[str, Any]:
    return {
        "id": str(market.number),
        "question": name_title(market),
        "conditionId": market.condition,
        "slug": market.slug,
        "resolutionSource": market.source,
        "image": IMAGE.format(market.asset),
        "icon": IMAGE.format(market.asset),
        "description": describe(market),
        "outcomes": '["Up", "Down"]',
        "questionID": market.question_id,
    }


def _describe_times(market: Market, at_s: float) -> dict[str, Any]:
    return {
        "endDate": write_time(market.ends_s),
        "startDate": write_time(market.created_s + 68, 920_711),
        "createdAt": write_time(market.created_s, 220_426),
        "updatedAt": write_time(find_update(market, at_s), 688_255),
        "endDateIso": write_time(market.ends_s)[:10],
        "startDateIso": write_time(market.created_s + 68)[:10],
        "acceptingOrdersTimestamp": write_time(market.created_s + 3),
        "eventStartTime": write_time(market.opens_s),
    }


def _describe_sums(volume: float, *, is_over: bool) -> dict[str, Any]:
    """The same numbers, as text here and as numbers there."""
    liquidity = 0 if is_over else 13350.3218
    return {
        "liquidity": str(liquidity),
        "volume": f"{volume:.6f}".rstrip("0").rstrip("."),
        "volumeNum": volume,
        "liquidityNum": liquidity,
        "volumeClob": volume,
        "liquidityClob": liquidity,
    }


def _describe_tokens(market: Market) -> dict[str, Any]:
    if market.version == "v2":
        return {"clobTokenIds": None, "positionIds": list(market.tokens)}
    return {"clobTokenIds": f'["{market.tokens[0]}", "{market.tokens[1]}"]'}


def _describe_rule(market: Market) -> dict[str, Any]:
    if market.rule != "twap":
        return {}
    asset = market.asset.lower()
    config = {
        "id": f"{asset}-{market.series}-twap-{market.window_s}",
        "asset": asset,
        "duration": market.series,
        "twapEnabled": True,
        "twapLookbackSeconds": market.window_s,
    }
    return {"cryptoMarketConfig": config}


def _describe_prices(market: Market, at_s: float) -> dict[str, Any]:
    """Strike and settlement, which appear long after they are known; the key is missing until then."""
    shown: dict[str, float] = {}
    if at_s >= market.final_shown_s:
        shown["finalPrice"] = market.settlement / E18
    if at_s >= market.strike_shown_s:
        shown["priceToBeat"] = market.strike / E18
    return {"eventMetadata": shown} if shown else {}


def _describe_book(world: World, market: Market, at_s: float, *, is_over: bool) -> dict[str, Any]:
    if is_over:
        last = {"Up": 0.999, "Down": 0.001, "split": 0.5}[market.official]
        prices = f'["{market.payouts[0]}", "{market.payouts[1]}"]'
        told = {"outcomePrices": prices, "spread": 0.001, "lastTradePrice": last, "bestBid": 0, "bestAsk": 1}
        return {**told, "orderPriceMinTickSize": 0.01}
    bid, ask, tick = 490, 510, COARSE
    if at_s >= market.opens_s - EARLY_S:
        ladder = world.crowd.ladder(market)
        bid, ask, tick = ladder.find_top(ladder.find_second(at_s))
        ask = min(ask, 1000)
    middle = bid + ask
    return {
        "outcomePrices": f'["{write_short(middle * 5, 4)}", "{write_short(10_000 - middle * 5, 4)}"]',
        "spread": (ask - bid) / 1000,
        "oneHourPriceChange": -0.03,
        "lastTradePrice": middle / 2000,
        "bestBid": bid / 1000,
        "bestAsk": ask / 1000,
        "orderPriceMinTickSize": tick / 1000,
    }


def _describe_resolution(market: Market, at_s: float, *, is_over: bool) -> dict[str, Any]:
    state = market.find_state(at_s)
    if state == "resolved" and not is_over:
        state = "disputed" if market.disputed_s is not None else "proposed"
    if market.version == "v2":
        status = "resolved" if is_over else "active" if at_s >= market.proposed_s else "inactive"
        return {"resolutionStatus": status, **({"closedTime": _write_closed(market)} if is_over else {})}
    past = [name for name in ("proposed", "disputed", "resolved") if name == state]
    if market.disputed_s is not None and at_s >= market.disputed_s:
        past = ["proposed", "disputed", *(["resolved"] if is_over else [])]
    told: dict[str, Any] = {"umaResolutionStatuses": "[" + ", ".join(f'"{name}"' for name in past) + "]"}
    if past:
        told["umaResolutionStatus"] = past[-1]
    if is_over:
        told |= {
            "closedTime": _write_closed(market),
            "umaEndDate": write_time(market.resolved_s),
            "automaticallyResolved": market.disputed_s is None,
        }
    return told


def _write_closed(market: Market) -> str:
    return datetime.fromtimestamp(market.resolved_s, UTC).strftime("%Y-%m-%d %H:%M:%S+00")


def find_volume(market: Market, at_s: float) -> float:
    """Return the dollars traded in a market until a time: a share of the window's, so that no list must make trades."""
    share = (min(at_s, market.ends_s) - market.opens_s + EARLY_S) / (market.duration_s + EARLY_S)
    whole = 20_000 + crc32(market.slug.encode()) % 180_000
    return round(whole * max(0.0, share), 6)


def find_update(market: Market, at_s: float) -> int:
    """Return when a market was changed last."""
    if not is_closed(market, at_s):
        return max(market.created_s, int(at_s) // 60 * 60)
    return max(s for s in (market.resolved_s, market.strike_shown_s, market.final_shown_s) if s <= at_s)


def write_time(second: int, micros: int = 0) -> str:
    """Write a time as Gamma does, with microseconds where it has them."""
    text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{micros:06d}Z" if micros else f"{text}Z"
