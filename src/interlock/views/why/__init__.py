"""Why a job is waiting: one precise answer for every command that has not ended, read off the rows."""
