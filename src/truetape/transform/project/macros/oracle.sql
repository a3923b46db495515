{#- Order of preference among who delivers the price of one Chainlink stream: signed reports first, then the sockets, then
    what the public page shows. Null: not a price that markets settle on (Binance's, Pyth's). -#}
{% macro rank_source(source) -%}
  case {{ source }}
    when 'chainlink_streams' then 1
    when 'polybolt_chainlink' then 2
    when 'rtds_chainlink' then 3
    when 'chainlink_page' then 4
    else case when starts_with({{ source }}, 'chainlink_') then 5 end
  end
{%- endmacro %}

{#- A moment of microseconds since 1970 as ISO text. -#}
{% macro write_time(us) -%}
  strftime(make_timestamp({{ us }}), '%Y-%m-%dT%H:%M:%S.%fZ')
{%- endmacro %}
