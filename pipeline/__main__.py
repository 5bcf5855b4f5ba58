"""`python -m pipeline` is `simlift`."""

from pipeline.cli import main

if __name__ == "__main__":
    main()
