"""`python -m cli`: the `ratchet` command of the checkout in the current folder. dvc.yaml calls it like this."""

from cli.main import main

main()
