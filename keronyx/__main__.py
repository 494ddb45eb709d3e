"""`python -m keronyx`."""

from keronyx.cli import main

main()
