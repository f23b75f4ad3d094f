"""How many attempts of a flow may be under way without an end: rows count them (`job.claims`)."""

#: a flow whose counted attempts never came to an end so often is parked (hard case 14)
CLAIMS_MAX = 3
#: what counts as more than any attempts: the flow came from a backup, and only a person knows what was done since
RESTORED = 1_000
