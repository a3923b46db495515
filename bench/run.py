"""Run benchmarks and write docs/benchmarks.md: `python bench/run.py [NAME…] [--quick]`."""

import argparse
import importlib
import sys

from report import TITLES, write_page
from results import add_options, read_options, save


def main() -> None:
    """Run what was named, or everything, one after the other."""
    parser = argparse.ArgumentParser(description="truetape benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(TITLES))
    add_options(parser)
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in TITLES]
    if unknown:
        sys.exit(f"{', '.join(unknown)}: no such benchmark (allowed: {', '.join(TITLES)})")
    for name in given.names or TITLES:
        save(name, importlib.import_module(name).measure, read_options(given))
        write_page()


if __name__ == "__main__":
    main()
