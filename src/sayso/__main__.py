"""`python -m sayso` is the same as `sayso`; torchrun starts it this way."""

from sayso.cli.main import main

if __name__ == "__main__":  # a worker process that imports this module again must not start a second run
    main()
