"""`python -m api.cli` is the program `certledger`."""

from api.cli.main import main

if __name__ == "__main__":
    main()
