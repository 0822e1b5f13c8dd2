"""``python -m vocseg``: what launchers of several processes start."""

from vocseg.cli.main import main

main()
