"""``python -m vocseg``, which ``accelerate launch -m vocseg`` and ``torchrun -m vocseg`` start."""

from vocseg.cli.main import main

main()
