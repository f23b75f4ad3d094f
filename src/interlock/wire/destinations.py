"""The destinations that hosts know by name, and how dots make one a part of another."""

#: Where requests go; a server takes them at both, and at all within them.
REQUESTS = "jms.topic.vdsm_requests"
IRS_REQUESTS = "jms.topic.vdsm_irs_requests"
#: Where the answer goes when a request names no `reply-to`.
RESPONSES = "jms.topic.vdsm_responses"
#: Where notifications go.
EVENTS = "jms.queue.events"


def is_within(destination: str, parent: str) -> bool:
    """Whether it is that destination, or one beneath it: `a.b` and `a.b.c` are within `a.b`, `a.bc` is not."""
    return destination == parent or destination.startswith(f"{parent}.")


def takes_requests(destination: str) -> bool:
    """Whether what is sent there is a request to the server itself."""
    return is_within(destination, REQUESTS) or is_within(destination, IRS_REQUESTS)
