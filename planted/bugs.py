"""All planted bugs, in the order in which they are tried."""

from planted.bug import Bug
from planted.of_agent import OF_AGENT
from planted.of_coordinator import OF_COORDINATOR
from planted.of_core import OF_CORE

BUGS: tuple[Bug, ...] = (*OF_CORE, *OF_COORDINATOR, *OF_AGENT)
