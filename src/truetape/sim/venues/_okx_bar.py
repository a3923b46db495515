"""Fake OKX's bars, as its API and its files have them."""

from truetape.sim.market import Candle
from truetape.sim.spec import Spec, write_short


def describe_candle(spec: Spec, bar: Candle, is_final: bool) -> list[str]:
    """Write a candle row: contracts (or base), coins, quote, and whether it is final."""
    prices = [write_short(v, spec.price_digits) for v in (bar.open, bar.high, bar.low, bar.close)]
    volume = write_short(bar.volume, spec.size_digits)
    worth = bar.turnover / 10 ** (spec.price_digits + spec.size_digits) * (spec.contract if spec.kind != "spot" else 1)
    coins = float(volume) * (1 if spec.kind == "spot" else spec.contract)
    if spec.kind == "inverse":
        worth = coins
        coins = coins * bar.volume * 10**spec.price_digits / max(1, bar.turnover)
    in_coins = (
        write_short(bar.turnover, spec.price_digits + spec.size_digits) if spec.kind == "spot" else f"{coins:.8g}"
    )
    return [str(bar.start_us // 1000), *prices, volume, in_coins, f"{worth:.10g}", "1" if is_final else "0"]
