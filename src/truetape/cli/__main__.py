"""`python -m truetape.cli`."""

from truetape.cli import main

main()
