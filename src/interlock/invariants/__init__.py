"""What must hold in every database at every moment: one check per invariant."""

from interlock.invariants.checking import OF_A_FLOW, OF_ALL, Violation, check, check_between, check_flow
from interlock.invariants.picture import Picture, pictures

__all__ = ["OF_ALL", "OF_A_FLOW", "Picture", "Violation", "check", "check_between", "check_flow", "pictures"]
