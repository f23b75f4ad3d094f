"""`make kill-matrix`: real processes killed at every failpoint of every flow; the last line says what came of it."""

if __name__ == "__main__":
    from tests.killing.program import main  # processes that are forked import this module, too

    main()
