"""Where good ends: every threshold of the market checks and of verdicts, in this one place."""

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """What a market's dataset is held against. Shares are of the market's own seconds, 0 to 1."""

    hole_s_max: float = 2.0
    """Longest spacing of a one-per-second oracle that needs no gap row."""
    boundary_age_s_max: float = 2.0
    """How far from a boundary an observation may lie to decide it."""
    price_difference_bps_max: float = 0.1
    """Our strike or settlement may differ from the venue's by this: what rounding does."""
    sum_tolerance: float = 1e-9
    """Sums of bids and asks are sums of floats."""
    arbitrage_share_max: float = 0.01
    """Share of a market's judged seconds in which bids may add up to more than 1, or asks to less: more is an error."""
    handover_lead_s_min: float = 60.0
    """The next market's books must flow this long before it opens."""
    handover_span_s: int = 60
    """Seconds on each side of a boundary in which no second may be missing."""
    label_wait_s_max: float = 5400.0
    """After this a market that ended should have its official outcome."""
    unjudged_share_max: float = 0.05
    """Share of book batches that a proof may leave unjudged."""
    blind_share_good_max: float = 0.01
    """More seconds in a gap or missing, of any stream: the market is degraded."""
    blind_share_bad_max: float = 0.1
    """More than this: the market is bad."""
    fresh_share_good_min: float = 0.9
    """Less seconds with an oracle price observed in that very second: degraded."""
    fresh_share_bad_min: float = 0.5
    """Less than this: bad."""
    day_good_share_min: float = 0.95
    """A day is good when this share of its finished markets is good, and none is bad."""
    day_bad_share_max: float = 0.1
    """A day is bad when more than this share of its finished markets is bad."""


LIMITS = Limits()
"""The thresholds in force."""
