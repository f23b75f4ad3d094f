"""Reading: jobs, steps, events, entities, locks and leftovers, ready to be written as JSON."""
