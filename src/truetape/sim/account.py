"""What the fake venues can tell of themselves: the truth that a recorder's data is held against."""

from collections.abc import Mapping

import msgspec

from truetape.sim.hub import Judge
from truetape.sim.market import Market
from truetape.sim.prediction import Market as Prediction
from truetape.sim.spec import write_fixed
from truetape.sim.world import World


def list_done(judge: Judge) -> list[dict[str, object]]:
    """List everything that the faults did, oldest first."""
    return [msgspec.to_builtins(done) for done in judge.done]


def describe_truth(world: World, args: Mapping[str, str]) -> dict[str, object]:
    """Describe instruments by `venue`, `feed` and `symbol`: book, trades from `from_id`, what was delivered to whom.

    `slug` (several with commas between) names prediction markets, whose whole future is told.
    """
    wanted = {key: args[key] for key in ("venue", "feed", "symbol") if args.get(key)}
    markets = [
        _describe_market(market, int(args.get("from_id", -1)), int(args.get("limit", 1000)))
        for market in world.markets.values()
        if all(getattr(market.spec, key) == value for key, value in wanted.items())
    ]
    slugs = [slug for slug in args.get("slug", "").split(",") if slug]
    found = [world.prediction.find_slug(slug, world.now_ms / 1000) for slug in slugs]
    told = {market.slug: _describe_prediction(market) for market in found if market is not None}
    deliveries = _list_deliveries(world, wanted)
    return {"now_ms": world.now_ms, "markets": markets, "prediction": told, "deliveries": deliveries}


def _describe_prediction(market: Prediction) -> dict[str, object]:
    """Write a market; prices of 18 decimals as text, for numbers in JSON do not hold them."""
    kept = [name for name in market.__struct_fields__ if name != "oracle"]
    told: dict[str, object] = {name: getattr(market, name) for name in kept}
    prices = {"strike": str(market.strike), "settlement": str(market.settlement)}
    return {**told, **prices, "computed": market.computed, "official": market.official}


def _describe_market(market: Market, from_id: int, limit: int) -> dict[str, object]:
    spec = market.spec
    bids, asks = market.book()
    trades = market.trades(from_id, limit) if from_id >= 0 else market.recent(limit)

    def level(price: int, size: int) -> list[str]:
        return [write_fixed(price, spec.price_digits), write_fixed(size, spec.size_digits)]

    return {
        "venue": spec.venue,
        "feed": spec.feed,
        "symbol": spec.symbol,
        "update_id": market.update_id,
        "bids": [level(p, s) for p, s in bids],
        "asks": [level(p, s) for p, s in asks],
        "first_trade_id": market.first_trade_id + market.trades_dropped,
        "next_trade_id": market.next_trade_id,
        "trades_dropped": market.trades_dropped,
        "trades": [
            {
                "id": t.id,
                "order": t.order,
                "price": write_fixed(t.price, spec.price_digits),
                "size": write_fixed(t.size, spec.size_digits),
                "at_us": t.at_us,
                "side": "sell" if t.is_sell else "buy",
                "is_liquidation": t.is_liquidation,
            }
            for t in trades
        ],
    }


def _list_deliveries(world: World, wanted: Mapping[str, str]) -> list[dict[str, object]]:
    return [
        {
            "venue": hub.venue,
            "feed": hub.feed,
            "topic": d.topic,
            "connection": d.session.name,
            "started_us": d.started_us,
            "ended_us": d.ended_us,
            "frames": d.frames,
            "first_id": d.first_id,
            "last_id": d.last_id,
        }
        for hub in world.hubs.values()
        if wanted.get("venue", hub.venue) == hub.venue and wanted.get("feed", hub.feed) == hub.feed
        for d in hub.deliveries
    ]
