"""The vocabulary: one schema constant per event kind, written once.

Tables, sinks, dbt sources, docs and checks derive from these. A kind's columns are the common ones
(who, when, where on the tape) followed by its own.
"""

from truetape.events.coin import COIN, COIN_TOTAL
from truetape.events.kind import COMMON as COMMON
from truetape.events.kind import Column as Column
from truetape.events.kind import ColumnType as ColumnType
from truetape.events.kind import Kind as Kind
from truetape.events.kind import flag_column as _flag
from truetape.events.kind import float_column as _float
from truetape.events.kind import floats_column as _floats
from truetape.events.kind import integer_column as _integer
from truetape.events.kind import text_column as _text
from truetape.events.kind import time_column as _time
from truetape.events.prediction import (
    MARKET_STATE,
    ORACLE_PRICE,
    OUTCOME_PRICE,
    POSITION,
    PREDICTION_MARKET,
    RESOLUTION,
)
from truetape.events.snapshot import MARKET_SNAPSHOT

_INEXACT = _flag("inexact", "a number of this row needs more than 15 digits: the tape has the exact text")

TRADE = Kind(
    "trade",
    "One execution, as the venue prints it.",
    (
        _text("trade_id", "the venue's trade id, as text"),
        _text("side", "the aggressor's side: buy, sell; null when the venue does not say"),
        _float("price", "quote per base", required=True),
        _float("amount", "in the base asset; null when the contract size is not known"),
        _float("contracts", "the number the venue reported, when it counts contracts or quote currency"),
        _text(
            "flag",
            "what sets this print apart: liquidation, block, combo, insurance, aggregate, wallet (one wallet's side of a "
            "trade that may be told elsewhere); null for ordinary trades",
        ),
        _INEXACT,
    ),
)

BOOK_CHANGE = Kind(
    "book_change",
    "One level of an order book: its new absolute amount. Rows in tape order give the right book from each snapshot on.",
    (
        _flag("is_snapshot", "row of a full picture: the first one of a frame replaces the whole book"),
        _text("side", "bid or ask", required=True),
        _float("price", "quote per base", required=True),
        _float(
            "amount",
            "new absolute amount in the base asset, 0 removes the level; null when the contract size is not known",
        ),
        _float("contracts", "the number the venue reported, when it counts contracts or quote currency"),
        _integer("sequence", "the venue's id of the book after this change"),
        _INEXACT,
    ),
)

BOOK_SNAPSHOT = Kind(
    "book_snapshot",
    "Top levels of an order book as the venue sends them, best first.",
    (
        _integer("sequence", "the venue's id of this picture"),
        _floats("bid_prices", "quote per base, highest first"),
        _floats("bid_amounts", "in the base asset"),
        _floats("ask_prices", "quote per base, lowest first"),
        _floats("ask_amounts", "in the base asset"),
    ),
)

QUOTE = Kind(
    "quote",
    "Best bid and ask.",
    (
        _float("bid_price", "best bid, quote per base"),
        _float("bid_amount", "amount at the best bid in the base asset"),
        _float("ask_price", "best ask, quote per base"),
        _float("ask_amount", "amount at the best ask in the base asset"),
        _integer("sequence", "the venue's id of this state"),
    ),
)

TICKER = Kind(
    "ticker",
    "Rolling 24-hour statistics and the last price.",
    (
        _float("last_price", "price of the last trade"),
        _float("last_amount", "amount of the last trade in the base asset"),
        _float("bid_price", "best bid"),
        _float("ask_price", "best ask"),
        _float("open_24h", "price 24 hours ago"),
        _float("high_24h", "highest price of 24 hours"),
        _float("low_24h", "lowest price of 24 hours"),
        _float("volume_24h", "traded in 24 hours, base asset"),
        _float("quote_volume_24h", "traded in 24 hours, quote currency"),
    ),
)

DERIVATIVE = Kind(
    "derivative",
    "State of a derivative: mark, index, open interest, funding as shown now.",
    (
        _float("mark_price", "price the venue margins with"),
        _float("index_price", "price of the underlying index"),
        _float("last_price", "price of the last trade"),
        _float("open_interest", "open contracts, in the base asset"),
        _float("open_interest_contracts", "open contracts as the venue reports them"),
        _float("funding_rate", "rate as shown now, a fraction per funding interval (Deribit: of this moment)"),
        _float("next_funding_rate", "predicted rate of the interval after"),
        _time("next_funding_at", "when `funding_rate` will be charged; null on continuous funding"),
        _float("mark_iv", "implied volatility of the mark price, percent; options"),
        _float("delta", "options"),
        _float("gamma", "options"),
        _float("vega", "options"),
        _float("theta", "options"),
        _float("rho", "options"),
    ),
)

FUNDING = Kind(
    "funding",
    "A funding rate for one settlement instant.",
    (
        _float("funding_rate", "a fraction per interval", required=True),
        _time("funding_at", "the instant it is charged", required=True),
        _float("interval_hours", "hours between settlements"),
        _flag("is_settled", "true when charged, false while it is an estimate"),
    ),
)

LIQUIDATION = Kind(
    "liquidation",
    "A forced order. Most venues send samples, not totals.",
    (
        _text("side", "of the closing order: sell closes a long, buy closes a short", required=True),
        _float(
            "price",
            "as the venue reports it (average fill where given, else bankruptcy price)",
            required=True,
        ),
        _float("amount", "in the base asset"),
        _float("contracts", "the number the venue reported, when it counts contracts or quote currency"),
        _text("order_status", "the venue's word"),
    ),
)

CANDLE = Kind(
    "candle",
    "The venue's own bar.",
    (
        _text("interval", "1m, 5m, 1h, 1d", required=True),
        _time("open_at", "start of the bar, inclusive", required=True),
        _float("open", "first price", required=True),
        _float("high", "highest price", required=True),
        _float("low", "lowest price", required=True),
        _float("close", "last price", required=True),
        _float("volume", "base asset"),
        _float("quote_volume", "quote currency"),
        _float("taker_buy_volume", "base asset bought by takers"),
        _integer("trades", "number of trades"),
        _flag("is_closed", "final, will not change; null when the venue does not say", required=False),
    ),
)

MARKET = Kind(
    "market",
    "An instrument's metadata as listed: append-only history.",
    (
        _text(
            "market_type",
            "spot, perpetual, future, option; outcome (of a prediction market), oracle, coin",
            required=True,
        ),
        _text("base", "base asset"),
        _text("quote", "quote currency"),
        _text("settle", "settlement currency"),
        _float("contract_size", "amount of one contract, in base (linear) or quote (inverse)"),
        _flag("is_inverse", "contracts count quote currency"),
        _float("price_step", "smallest price step"),
        _float("amount_step", "smallest amount step"),
        _time("expiry_at", "when it expires"),
        _float("strike", "options"),
        _text("status", "the venue's word"),
    ),
)

GAP = Kind(
    "gap",
    "An interval in which a stream was not observed; the last row of a gap_id is its state now.",
    (
        _text("gap_id", "the same for all rows of one gap", required=True),
        _text("channel", "channel of the stream", required=True),
        _time("from_at", "last moment the stream was known whole", required=True),
        _time("to_at", "first moment it was whole again; null while open"),
        _text(
            "reason",
            "not_started, disconnect, silence, sequence, skipped, checksum, crossed, decode, rate_limit, disk, venue_status, "
            "torn_tail",
            required=True,
        ),
        _text(
            "state",
            "open (still blind), closed (whole again, data missing), repaired, unrecoverable",
            required=True,
        ),
        _text("evidence", "JSON: ids before and after, close code, offsets", required=True),
        _integer("missing", "number of events known to be missing, where ids tell"),
    ),
)

BOOK_PROOF = Kind(
    "book_proof",
    "What was proven of one order book in one minute, where the venue's frames seal it; a minute may have several rows, "
    "which add up.",
    (
        _time("minute_at", "start of the minute in which the frames were received", required=True),
        _text("epoch", "the price step, as the venue writes it: another one begins another epoch of the book"),
        _integer("batches", "states of the book that frames sealed: proven, broken and unjudged", required=True),
        _integer("proven", "of these, the rebuilt book has the hash that the venue sent", required=True),
        _integer("broken", "of these, it has not: a gap begins", required=True),
        _integer("unjudged", "of these, the market's constants were not known", required=True),
        _integer("pictures", "of the batches, full pictures", required=True),
        _integer("fetched", "books fetched beside the stream that their own hash proves", required=True),
        _integer("confirmed", "of these, equal to the rebuilt book", required=True),
        _integer("mirrored", "comparisons with the book of the market's other outcome", required=True),
        _integer("mirror_broken", "of these, the books did not mirror each other", required=True),
    ),
)

CONNECTION = Kind(
    "connection",
    "What happened to a connection or to the recorder.",
    (
        _text("connection", "name of the connection on the tape", required=True),
        _text("feed", "endpoint group of the venue", required=True),
        _text(
            "event",
            "opened, closed, subscribed, silent, dropped, clock_step, started, stopped, torn_tail, damaged",
            required=True,
        ),
        _text("detail", "JSON", required=True),
    ),
)

QUARANTINE = Kind(
    "quarantine",
    "A frame that does not decode; its bytes are on the tape.",
    (
        _text("connection", "name of the connection on the tape", required=True),
        _text("feed", "endpoint group of the venue", required=True),
        _text("reason", "one line", required=True),
        _text("path", "JSON path of the offending value", required=True),
        _text("excerpt", "first 200 characters", required=True),
        _integer("bytes", "length of the frame", required=True),
    ),
)

DRIFT = Kind(
    "drift",
    "A field that appeared, vanished or changed its type.",
    (
        _text("feed", "endpoint group of the venue", required=True),
        _text("message", "event kind the message decodes to", required=True),
        _text("change", "appeared, vanished, retyped", required=True),
        _text("path", "JSON path of the field", required=True),
        _text("was", "type before", required=True),
        _text("now", "type now", required=True),
    ),
)

ERROR = Kind(
    "error",
    "A service's own failure: an HTTP status or an error message.",
    (
        _text("connection", "name of the connection on the tape", required=True),
        _text("feed", "endpoint group of the venue", required=True),
        _integer("status", "HTTP status or the venue's code"),
        _text("message", "the service's words", required=True),
        _text("url", "what was asked"),
    ),
)

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        TRADE, BOOK_CHANGE, BOOK_SNAPSHOT, QUOTE, TICKER, DERIVATIVE, FUNDING, LIQUIDATION, CANDLE,
        COIN, COIN_TOTAL, MARKET, PREDICTION_MARKET, MARKET_STATE, OUTCOME_PRICE, RESOLUTION, POSITION, ORACLE_PRICE,
        MARKET_SNAPSHOT,
        GAP, BOOK_PROOF, CONNECTION, QUARANTINE, DRIFT, ERROR,
    )
}  # fmt: skip
"""Every kind by name, in the order docs and tables list them."""

CHANNELS: tuple[str, ...] = (
    "trade", "book_change", "book_snapshot", "quote", "ticker", "derivative", "funding", "liquidation", "candle",
    "oracle_price",
)  # fmt: skip
"""Kinds that a venue can be asked to send."""
