"""The rules of the wire, and where each is shown: at our server by a raw client, at our client by a raw host.

Both speak bytes over a real socket; each test runs twice, with those bytes as they come and fed one by one. What the
rules say is how stock peers (VDSM, its Python client, oVirt's engine) behave, and where those leave a choice, STOMP
1.2 and JSON-RPC 2.0. The tests of TLS are in `tests/wire/test_tls.py`, which has a certificate authority.

Frames
| a frame: command, header lines, empty line, body, NUL | test_requests_are_answered_to_the_letter | test_a_request_is_sent_and_a_bare_answer_taken_to_the_letter |
| escapes of headers: backslash, CR, LF, colon | test_escapes_in_headers_are_read_and_written | test_headers_of_a_request_are_escaped |
| a colon in a value may come unescaped | test_a_colon_in_a_value_may_come_unescaped | test_an_answer_is_taken_in_every_form_that_a_frame_has |
| no escapes in CONNECT and CONNECTED | test_headers_of_connect_are_not_unescaped | test_headers_of_connected_are_not_unescaped |
| of a repeated header the first counts | test_the_first_of_repeated_headers_counts | test_the_first_of_repeated_headers_counts |
| a bare end of line is a heart-beat | test_ends_of_lines_between_frames_are_heart_beats | test_an_answer_is_taken_in_every_form_that_a_frame_has |
| lines may end with CR LF | test_lines_may_end_with_a_carriage_return | test_an_answer_is_taken_in_every_form_that_a_frame_has |
| content-length: the body may hold NUL | test_a_body_of_known_length_may_hold_nul | test_an_answer_is_taken_in_every_form_that_a_frame_has |
| no content-length: the body ends at NUL | test_a_body_of_unknown_length_ends_at_nul | test_an_answer_is_taken_in_every_form_that_a_frame_has |
| garbage, a wrong content-length, more than the bounds: the end, with the reason | test_bytes_that_are_no_frame_get_an_error_and_the_end_and_others_go_on | test_bytes_that_are_no_frame_end_the_connection_and_say_why |

Connecting and leaving
| the first bytes must be a command | test_first_bytes_that_are_no_command_are_cut | test_who_does_not_greet_is_not_connected_to |
| the heart-beat pair is swapped, and raised to 1000 ms unless 0 | test_connect_is_answered_with_the_pair_swapped_and_raised | test_connect_asks_for_version_and_heart_beats_and_then_subscribes |
| a heart-beat pair is two numbers | test_a_malformed_heart_beat_pair_is_refused_aloud | test_who_does_not_greet_is_not_connected_to |
| version 1.2 only: ERROR `Version unsupported` | test_another_version_is_refused_aloud | test_who_does_not_greet_is_not_connected_to |
| CONNECT comes first, and CONNECTED answers it | test_nothing_but_subscriptions_is_taken_before_connect | test_who_does_not_greet_is_not_connected_to |
| CONNECT comes once | test_connecting_twice_ends_the_connection | test_connect_asks_for_version_and_heart_beats_and_then_subscribes |
| the engine may subscribe just before it connects | test_a_subscription_may_come_just_before_connect_and_gets_nothing_before_connected | test_connect_asks_for_version_and_heart_beats_and_then_subscribes |
| CONNECT may be called STOMP | test_the_greeting_may_be_called_stomp | test_connect_asks_for_version_and_heart_beats_and_then_subscribes |
| who says nothing is not waited for | test_a_client_that_says_nothing_is_cut | test_a_host_that_says_nothing_times_out |
| 64 connections at once, the next is refused aloud | test_64_clients_are_served_at_once_and_the_next_is_refused_aloud | test_64_clients_call_at_once_and_the_next_learns_that_there_is_no_room |
| any frame gets the receipt that it asks for | test_any_frame_gets_the_receipt_that_it_asks_for | test_closing_waits_for_the_receipt_of_its_disconnect_and_for_no_other |
| DISCONNECT gets its receipt, then the end | test_disconnect_gets_its_receipt_and_then_the_end | test_closing_waits_for_the_receipt_of_its_disconnect_and_for_no_other |
| ERROR names the receipt, and keeps the connection where the stream can be read on | test_a_refused_frame_gets_an_error_that_names_its_receipt_and_the_connection_stays | test_an_error_keeps_the_connection_and_is_told_with_the_call_that_stays_unanswered |
| a peer may just close | test_a_client_that_just_closes_ends_its_subscriptions_only | test_a_call_whose_host_goes_is_unanswered_and_the_next_is_not_sent |
| both sides show a certificate of one authority | test_no_certificate_is_refused | test_the_wrong_certificate_is_refused |
| the host's name is in its certificate | test_the_coordinator_is_let_in_and_the_handler_knows_it | test_the_wrong_certificate_is_refused |

Destinations
| requests go to both destinations of requests, or beneath | test_requests_are_taken_at_both_destinations_and_beneath_them | test_a_request_is_sent_and_a_bare_answer_taken_to_the_letter |
| the answer goes to `reply-to` | test_the_answer_goes_to_reply_to_and_to_nobody_else | test_a_request_is_sent_and_a_bare_answer_taken_to_the_letter |
| without `reply-to` to the topic of responses, to all of its subscribers | test_without_reply_to_the_answer_goes_to_all_who_subscribed_to_the_topic_of_responses | test_answers_may_come_in_any_order_twice_and_wherever_they_were_sent |
| nothing is run whose answer nobody could hear | test_nothing_is_run_whose_answer_nobody_could_hear | test_connect_asks_for_version_and_heart_beats_and_then_subscribes |
| a destination that nobody has: ERROR `Subscription not available` | test_a_destination_that_nobody_has_is_refused_and_the_connection_stays | test_an_error_keeps_the_connection_and_is_told_with_the_call_that_stays_unanswered |
| what a client sends is passed on, also to subscribers of parents | test_what_a_client_sends_is_passed_on_to_subscribers_of_its_destination_and_of_parents | test_notifications_are_handed_over_wherever_beneath_their_destination_and_never_answered |
| requests are passed on as well | test_a_request_is_answered_and_passed_on_to_subscribers_of_its_destination | test_an_answer_to_nobody_harms_nothing |
| answers and notifications go to exactly their destination | test_answers_and_notifications_go_to_exactly_their_destination | test_notifications_are_handed_over_wherever_beneath_their_destination_and_never_answered |
| notifications go to every subscription until UNSUBSCRIBE | test_notifications_go_to_every_subscription_until_it_is_ended | test_without_a_listener_there_is_no_subscription_to_notifications_and_none_is_missed |

JSON-RPC
| an array of one is answered by a bare object, of two or more by an array | test_requests_are_answered_to_the_letter | test_an_answer_may_be_bare_or_in_an_array |
| bad JSON: -32700 with id null | test_what_cannot_be_run_is_answered_with_its_code_and_the_connection_stays | test_an_answer_to_nobody_harms_nothing |
| unknown verb: -32601; invalid request: -32600 | test_what_cannot_be_run_is_answered_with_its_code_and_the_connection_stays | test_an_error_answer_is_raised_whole |
| nesting is bounded | test_what_cannot_be_run_is_answered_with_its_code_and_the_connection_stays | test_a_call_whose_host_goes_is_unanswered_and_the_next_is_not_sent |
| a notification has no answer | test_a_notification_is_run_and_not_answered | test_notifications_are_handed_over_wherever_beneath_their_destination_and_never_answered |
| a notification tells when it was made | test_a_notification_tells_when_it_was_made | test_notifications_are_handed_over_wherever_beneath_their_destination_and_never_answered |
| an answer is a result or an error | test_requests_are_answered_to_the_letter | test_an_answer_that_says_nothing_is_unanswered |
| answers come in any order, or too late | test_answers_go_out_as_they_come | test_a_call_without_an_answer_in_time_is_unanswered_and_the_connection_stays |

Load
| heart-beats are sent, and a peer without them is cut: a half-open connection is found | test_the_server_beats_and_cuts_a_client_that_does_not | test_both_sides_beat_and_a_silent_host_is_cut |
| a peer that beats is kept | test_a_client_that_beats_is_kept | test_a_host_that_beats_is_kept |
| more frames than the rate are read later, all of them, and their peer is kept | test_a_flood_is_read_at_its_pace_whole_and_neither_cut_for_silence_nor_felt_by_others | test_a_flood_of_notifications_is_read_at_its_pace_and_whole_and_its_host_is_kept |
| a peer that does not read is cut, at a bounded memory | test_a_slow_reader_is_cut_and_others_are_not | test_a_host_that_stops_reading_leaves_calls_not_sent |
"""  # noqa: E501

import ast
from pathlib import Path

HERE = Path(__file__).parent
WITH_TLS = HERE.parent / "test_tls.py"


def rules() -> list[tuple[str, str, str]]:
    """Rule, the server's test, the client's test."""
    rows = [line.strip("| ").split(" | ") for line in (__doc__ or "").splitlines() if line.startswith("| ")]
    return [(rule, server, client) for rule, server, client in rows]


def of_side(side: str) -> set[str]:
    """The tests of one side of this suite."""
    return {name for path in HERE.glob(f"test_{side}_*.py") for name in written_in(path)}


def written_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in tree.body if isinstance(node, functions) and node.name.startswith("test_")}


def test_every_rule_is_shown_at_both_sides() -> None:
    of_server, of_client = (of_side(side) | written_in(WITH_TLS) for side in ("server", "client"))
    assert rules()
    assert [rule for rule, server, client in rules() if server not in of_server or client not in of_client] == []


def test_every_test_of_the_suite_shows_a_rule() -> None:
    assert of_side("server") - {server for _, server, _ in rules()} == set()
    assert of_side("client") - {client for _, _, client in rules()} == set()


def test_no_rule_is_listed_twice() -> None:
    assert len({rule for rule, _, _ in rules()}) == len(rules())
