"""x"""


def write_report() -> None:
    """X."""
