"""The words of Interlock as types: refs, states, plans, failures, records. Imports nothing above itself."""
