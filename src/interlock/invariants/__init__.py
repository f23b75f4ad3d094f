"""What must hold in every database at every moment: one check per invariant."""

from interlock.invariants.checking import CHECKS, Violation, check

__all__ = ["CHECKS", "Violation", "check"]
