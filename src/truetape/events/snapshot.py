"""Kind of services that are asked for their markets on a schedule."""

from truetape.events.kind import Kind
from truetape.events.kind import flag_column as _flag
from truetape.events.kind import float_column as _float
from truetape.events.kind import text_column as _text
from truetape.events.kind import time_column as _time

MARKET_SNAPSHOT = Kind(
    "market_snapshot",
    "What a service said of one market in one turn of its schedule: one row per market and turn that was answered. "
    "The symbol is `<service>/<id>`; each outcome's price is a row of `outcome_price`, too.",
    (
        _text("service", "name of the service in the settings", required=True),
        _text("market_id", "the service's id of the market", required=True),
        _time("due_at", "which turn of the schedule it answers: when that turn was due", required=True),
        _float("interval_s", "seconds between two turns", required=True),
        _text("question", "what is asked, as the newest listing has it"),
        _text("category", "the service's category, as the newest listing has it"),
        _text("status", "open, closed, resolved, as the newest answer has it; null where none told"),
        _flag("is_final", "the market is resolved: its last snapshot"),
        _text("outcomes", "JSON object: outcome's name to its price", required=True),
        _float("yes_price", "price of the outcome Yes (in any case of letters), where there is one"),
        _float("no_price", "price of the outcome No, where the service states it"),
        _float("price_sum", "sum of all outcomes' prices; null where the service states one only"),
        _float("volume", "volume so far, in the service's currency, as the newest answer has it"),
        _float("liquidity", "the service's word"),
        _time("closes_at", "when trading is to end"),
    ),
)
