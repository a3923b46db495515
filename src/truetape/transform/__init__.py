"""Lake → datasets: the dbt project, one SQL file per model, and what runs it."""

from truetape.transform.gold import hash_gold, read_bars
from truetape.transform.runner import BuildResult, ModelResult, build, list_models, read_variables

__all__ = ["BuildResult", "ModelResult", "build", "hash_gold", "list_models", "read_bars", "read_variables"]
