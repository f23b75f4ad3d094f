"""The simulator: the real coordinator and agents in one process, on virtual time, networks and disks, by seed."""
