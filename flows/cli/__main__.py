"""``python -m flows.cli`` is the command line where no script is installed."""

from flows.cli import main

main()
