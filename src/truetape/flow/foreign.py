"""Foreign recordings onto a tape."""


def import_files() -> None:
    """Stand in."""
