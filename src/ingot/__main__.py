"""`python -m ingot`: the `ingot` program."""

from ingot.cli import main

main()
