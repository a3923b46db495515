{#- Width of an interval such as 250ms, 1s, 5m, 1h, 1d in microseconds. -#}
{% macro interval_us(name) -%}
  {%- if name.endswith('ms') -%}{{ name[:-2] | int * 1000 }}
  {%- else -%}{{ name[:-1] | int * {'s': 1000000, 'm': 60000000, 'h': 3600000000, 'd': 86400000000}[name[-1]] }}
  {%- endif -%}
{%- endmacro %}

{#- The widest interval that all given ones are multiples of, in microseconds. -#}
{% macro common_us(names) -%}
  {%- set ns = namespace(width=0) -%}
  {%- for name in names -%}
    {%- set ns.other = interval_us(name) | int -%}
    {%- for _ in range(64) if ns.other -%}{#- Euclid; 64 steps are enough below 2^44 -#}
      {%- set rest = ns.width % ns.other if ns.other else 0 -%}
      {%- if ns.other -%}
        {%- set ns.width = ns.other -%}{%- set ns.other = rest -%}
      {%- endif -%}
    {%- endfor -%}
  {%- endfor -%}
  {{ ns.width }}
{%- endmacro %}
