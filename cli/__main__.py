"""`python -m cli`: the `ratchet` command of the checkout one stands in, which is how dvc.yaml calls it."""

from cli.main import main

main()
