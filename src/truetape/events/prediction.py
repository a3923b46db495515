"""Kinds of prediction markets and of the oracles that they settle on."""

from truetape.events.kind import Kind
from truetape.events.kind import flag_column as _flag
from truetape.events.kind import float_column as _float
from truetape.events.kind import integer_column as _integer
from truetape.events.kind import text_column as _text
from truetape.events.kind import time_column as _time

ORACLE_PRICE = Kind(
    "oracle_price",
    "A price that an oracle published, as one source delivered it. `exchange_at` is the oracle's observation time: "
    "the clock that markets settle on, earlier than any publishing or receiving.",
    (
        _text(
            "source",
            "who delivered it, and whose price: rtds_chainlink, rtds_binance, polybolt_chainlink, polybolt_pyth, ...",
            required=True,
        ),
        _text("feed_id", "the source's name of the feed: btc/usd, btcusdt, a Chainlink feed id", required=True),
        _integer("window_s", "seconds that a time-weighted average looks back; null: a spot price"),
        _float("price", "benchmark (mid) price, quote per base", required=True),
        _float("bid", "bid of the oracle's report, where it has one"),
        _float("ask", "ask of the oracle's report, where it has one"),
        _text("exact_price", "all digits of the price as decimal text; null where the source gives a float only"),
        _time("published_at", "when the source sent it, by its own clock"),
        _flag("is_snapshot", "a point of the history that is sent on subscribing, not the moment it was new"),
    ),
)

PREDICTION_MARKET = Kind(
    "prediction_market",
    "A version of a prediction market's metadata: append-only history, one row whenever something of it changed.",
    (
        _text("slug", "the venue's readable name of the market", required=True),
        _text("condition", "id of the condition that the market resolves", required=True),
        _text("version", "the venue's protocol: v1, v2; null where markets of that time did not say"),
        _text("question", "what is asked"),
        _text("event_slug", "event that the market belongs to"),
        _text("series", "recurring series that the event belongs to: btc-up-or-down-15m"),
        _text("outcomes", "JSON object: outcome's name to its token", required=True),
        _time("opens_at", "start of the window whose prices decide; null for markets without one"),
        _time("ends_at", "end of that window, or of the market"),
        _text("resolution_source", "where the deciding price or fact is read, as the venue says"),
        _text(
            "rule",
            "how the deciding price is read: spot (the stream's price at start and end), twap (the stream's average "
            "over `rule_window_s`); null where the metadata does not say. A tie resolves to Up",
        ),
        _integer("rule_window_s", "seconds that the average of a `twap` rule looks back"),
        _float("strike", "price at the start of the window as the venue published it (priceToBeat), later"),
        _float("final_price", "price at the end of the window as the venue published it, later"),
        _float("tick", "smallest price step now"),
        _float("order_min", "smallest order, shares"),
        _float("fee_rate", "fee = shares * rate * (p * (1 - p)) ** exponent"),
        _float("fee_exponent", "exponent of that formula"),
        _flag("is_taker_fee_only", "makers pay nothing", required=False),
        _float("fee_rebate", "share of the fee that makers get"),
        _flag("is_negative_risk", "outcomes of its event exclude each other and share collateral", required=False),
        _flag("is_active", "the venue's word", required=False),
        _flag("is_closed", "the venue's word: not a resolution", required=False),
        _flag("is_accepting_orders", "the venue's word: true long before the window opens", required=False),
        _text("resolution_status", "the venue's word: proposed, disputed, resolved; inactive, active, resolved"),
        _time("closed_at", "when the venue closed it"),
    ),
)

OUTCOME_PRICE = Kind(
    "outcome_price",
    "Price of one outcome as a service states it, apart from the order book; the symbol names the outcome.",
    (
        _text("condition", "id of the condition"),
        _text("outcome", "name of the outcome; null where only the token is given"),
        _float("price", "between 0 and 1; near 0 or 1 is not a resolution", required=True),
        _text("source", "gamma, clob, data_api", required=True),
    ),
)

RESOLUTION = Kind(
    "resolution",
    "What a source says of a market's resolution, one row whenever that changed. Only `is_resolved` makes it a label.",
    (
        _text("condition", "id of the condition", required=True),
        _text("slug", "the market's readable name, where the source gives it"),
        _text("source", "gamma, clob, clob_socket, data_api, goldsky", required=True),
        _text("status", "the source's word: proposed, disputed, resolved, ...; null when it has none"),
        _flag(
            "is_resolved",
            "closed, resolved and paid 1/0, 0/1 or 0.5/0.5, all three; a source that does not tell all three never says true",
        ),
        _text("winner", "outcome that is paid 1; null before, and when both are paid 0.5"),
        _text("payouts", "JSON object: outcome's name (or its index) to what a share is paid"),
        _float("strike", "price at the start of the window, where the source gives it"),
        _float("final_price", "price at the end of the window, where the source gives it"),
        _flag("is_disputed", "somebody disputes it, or did; null where the source does not say", required=False),
        _time("resolved_at", "when it was resolved, by the source"),
    ),
)

POSITION = Kind(
    "position",
    "What a wallet held of one outcome in one snapshot; the symbol names the outcome, `venue_symbol` is its token.",
    (
        _text("wallet", "address, lower case; null on the one row of a snapshot that held nobody"),
        _text("condition", "id of the condition, where the source gives it"),
        _integer("units", "exact holding in millionths of a share"),
        _float("amount", "holding in shares"),
        _float("average_price", "average entry price, where the source gives it"),
        _float("total_bought", "shares bought in all, where the source gives it"),
        _float("realized_profit", "in collateral, where the source gives it"),
        _text("source", "goldsky_positions, goldsky_pnl, data_api_positions, data_api_holders", required=True),
        _integer("block", "block that the snapshot is pinned to, where the source says"),
        _text("coverage", "what the source is known to miss; null: nothing known"),
    ),
)

MARKET_STATE = Kind(
    "market_state",
    "A step in the life of a prediction market, as the recorder saw it: each market begins with `listed` and ends with "
    "`settled` or `unknown`. The symbol is the slug.",
    (
        _text("slug", "the venue's readable name of the market", required=True),
        _text("condition", "id of the condition that the market resolves; null while no answer told"),
        _text("state", "listed, open, ending, ended, proposed, disputed, resolved, settled, unknown", required=True),
        _text("previous", "state before; null at the first"),
        _text("reason", "what brought it about: the clock, the venue's word, an answer that did not come"),
        _time("opens_at", "start of the window whose prices decide; null for markets without one"),
        _time("ends_at", "end of that window, or of the market, as known then"),
    ),
)
