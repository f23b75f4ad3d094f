"""Claims and whether they hold."""


class Checks:
    """Counts the claims that held and those that did not, and prints each."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0

    def that(self, claim: str, holds: bool) -> None:
        """Notes a claim."""
        if holds:
            self.passed += 1
        else:
            self.failed += 1
        print(f"   {'ok    ' if holds else 'FAILED'}  {claim}", flush=True)
