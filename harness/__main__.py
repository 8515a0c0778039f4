"""``python -m harness``, for torchrun and for clones."""

from harness.cli import main

main()
