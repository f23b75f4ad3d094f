"""The agent as a whole and as a process: its calls over the wire, and the door for the person at the host."""
