"""A tour: real processes, real disks, a crash in the middle, and the end that is true all the same."""
