"""`python -m interlock.agent`: the agent's command line."""

import sys

from interlock.agent.main import main

sys.exit(main())
