"""A rolling change: a new release on all servers of a fleet, a few at a time, or on none of them.

The servers are real processes that answer over HTTP; which of them get traffic stands in the file `balancer`.
`RollOut` (catalog.py) is the command that a person gives, and its plan is the picture of the whole:

    announce (best effort)
    fetch the release, from the first mirror that has it
      └ the canary: out of the balancer → drained → switched → healthy → back
          └ somebody agrees, where that is asked for
          └ all others in the same way, two at a time, none further after a failure
              └ the releases that nobody uses are removed: the point of no return
                  └ the release is registered

Each of those steps is a command of its own (parts.py), and one that changes something names what undoes it. That is all
there is to rolling back: when the third server is not well with the release, it and all that had been switched before
are taken out, switched back, asked whether they are well, and put back, the latest first. What is done outside of the
database are plain functions (outside.py), each of which may run twice: a crash of the coordinator is nothing that they
need to know of. The world that they change is made by scene.py and web_server.py.

    python -m examples.rolling_change
"""
