"""`python -m hpcq`."""

from hpcq.cli.main import main

main()
