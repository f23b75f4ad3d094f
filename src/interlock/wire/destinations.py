"""The destinations that hosts know by name."""

#: Where requests go; a server takes them at both.
REQUESTS = "jms.topic.vdsm_requests"
IRS_REQUESTS = "jms.topic.vdsm_irs_requests"
#: Where the answer goes when a request names no `reply-to`.
RESPONSES = "jms.topic.vdsm_responses"
#: Where notifications go.
EVENTS = "jms.queue.events"
