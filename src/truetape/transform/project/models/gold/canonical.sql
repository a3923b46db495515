-- One row per market and second, exactly duration_s of them, of markets that are over: what had been received by `t`, and
-- nothing later. Every cell says what it is: observed (something came in the second that ends at t), carried (the last
-- known), gap (a hole of the ledger: no value, neither observed nor carried), before_open (the last known came before the
-- market opened), after_end (the venue had closed it), missing (never seen). What is the market's and not the second's
-- (`k`, `settlement`, `y`) stands on every row and is a label: known only later. `delta` uses the strike once it was known.
--
-- Holes are marked as the ledger knows them now: that takes values away, and never adds one.

with oracle as (
    select
        known.venue,
        known.slug,
        known.second,
        known.newest,
        case
            when hole.is_blind or coalesce(known.heard_us < hole.mended_us, false) then 'gap'
            when known.newest is null then 'missing'
            when known.heard_us > moment.t_us - 1000000 then 'observed'
            else 'carried'
        end as state,
        state in ('observed', 'carried') as is_known
    from {{ ref('oracle_second') }} as known
    inner join {{ ref('market_second') }} as moment using (venue, slug, second)
    left join {{ ref('market_hole') }} as hole
        on hole.venue = known.venue
        and hole.slug = known.slug
        and hole.role = 'oracle'
        and hole.second = known.second
),

spot as (
    select
        known.venue,
        known.slug,
        known.second,
        coalesce(known.last_trade.price, known.last_quote.price) as price,
        coalesce(known.last_trade.available_us, known.last_quote.available_us) as heard_us,
        case
            when hole.is_blind or coalesce(heard_us < hole.mended_us, false) then 'gap'
            when heard_us is null then 'missing'
            when heard_us > moment.t_us - 1000000 then 'observed'
            else 'carried'
        end as state,
        state in ('observed', 'carried') as is_known
    from {{ ref('spot_second') }} as known
    inner join {{ ref('market_second') }} as moment using (venue, slug, second)
    left join {{ ref('market_hole') }} as hole
        on hole.venue = known.venue
        and hole.slug = known.slug
        and hole.role = 'spot'
        and hole.second = known.second
),

cell as (
    select
        moment.t_us,
        moment.second,
        truth.*,
        case when oracle.is_known then oracle.newest.price end as oracle_mid,
        case when oracle.is_known then oracle.newest.bid end as oracle_bid,
        case when oracle.is_known then oracle.newest.ask end as oracle_ask,
        case when oracle.is_known then oracle.newest.source end as oracle_source,
        case when oracle.is_known then (moment.t_us - oracle.newest.observed_us) / 1000 end as oracle_age_ms,
        oracle.state as oracle_state,
        case when spot.is_known then spot.price end as spot_price,
        case when spot.is_known then (moment.t_us - spot.heard_us) / 1000 end as spot_age_ms,
        spot.state as spot_state
    from {{ ref('market_second') }} as moment
    inner join {{ ref('truth') }} as truth
        on truth.venue = moment.venue
        and truth.market_id = moment.slug
    inner join oracle
        on oracle.venue = moment.venue
        and oracle.slug = moment.slug
        and oracle.second = moment.second
    inner join spot
        on spot.venue = moment.venue
        and spot.slug = moment.slug
        and spot.second = moment.second
)

select
    make_timestamp(cell.t_us)::timestamptz as t,
    cell.duration_s - cell.second as tau,
    cell.venue,
    cell.market_id,
    cell.asset,
    cell.symbol,
    cell.series,
    cell.opens_at,
    cell.oracle_mid,
    cell.oracle_bid,
    cell.oracle_ask,
    cell.oracle_state = 'carried' as oracle_ffill,
    cell.oracle_age_ms,
    cell.oracle_state,
    cell.oracle_source,
    up.bid as up_bid,
    up.ask as up_ask,
    round((up.bid + up.ask) / 2, 6) as up_mid,
    down.bid as down_bid,
    down.ask as down_ask,
    round((down.bid + down.ask) / 2, 6) as down_mid,
    up.state in ('carried', 'before_open') or down.state in ('carried', 'before_open') as book_ffill,
    up.age_ms as up_age_ms,
    up.state as up_state,
    down.age_ms as down_age_ms,
    down.state as down_state,
    cell.strike as k,
    cell.strike_available_at as k_available_at,
    cell.settlement,
    case cell.label when 'Up' then 1.0 when 'Down' then 0.0 when 'split' then 0.5 end::double as y,
    case when cell.t_us >= epoch_us(cell.strike_available_at) then cell.oracle_mid - cell.strike end as delta,
    case when cell.t_us >= epoch_us(cell.strike_available_at) then (cell.oracle_mid - cell.strike) / cell.strike * 1e4 end as delta_bps,
    round(up.bid + down.bid, 6) as sum_bids,
    round(up.ask + down.ask, 6) as sum_asks,
    round(up.ask - up.bid, 6) as up_spread,
    round(down.ask - down.bid, 6) as down_spread,
    cell.spot_price,
    cell.spot_age_ms,
    cell.spot_state,
    up.buy_amount as up_buy_amount,
    up.sell_amount as up_sell_amount,
    up.trades as up_trades,
    up.bid_depth as up_bid_depth,
    up.ask_depth as up_ask_depth,
    round((up.bid_depth - up.ask_depth) / nullif(up.bid_depth + up.ask_depth, 0), 9) as up_imbalance,
    up.large_orders as up_large_orders,
    down.buy_amount as down_buy_amount,
    down.sell_amount as down_sell_amount,
    down.trades as down_trades,
    down.bid_depth as down_bid_depth,
    down.ask_depth as down_ask_depth,
    round((down.bid_depth - down.ask_depth) / nullif(down.bid_depth + down.ask_depth, 0), 9) as down_imbalance,
    down.large_orders as down_large_orders,
    cell.date
from cell
inner join {{ ref('outcome_second') }} as up
    on up.venue = cell.venue
    and up.slug = cell.market_id
    and up.second = cell.second
    and up.role = 'up'
inner join {{ ref('outcome_second') }} as down
    on down.venue = cell.venue
    and down.slug = cell.market_id
    and down.second = cell.second
    and down.role = 'down'
