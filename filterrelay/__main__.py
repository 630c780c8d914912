"""`python -m filterrelay`, the same as the command."""

from filterrelay.cli.main import main

main()
