"""The answer to Task.getStatus, as VDSM gives it and with what the extension adds."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from interlock.verbs import Code, TaskResult, TaskState, TaskStatus

ID = "0190a0b0-0000-7000-8000-00000000000a"
STOCK = {"taskID": ID, "taskState": "finished", "taskResult": "cleanSuccess", "code": 0, "message": "m"}


def test_an_answer_of_a_stock_host_is_read_and_written_with_the_same_keys() -> None:
    status = TaskStatus.model_validate(STOCK)
    assert status == TaskStatus(
        taskID=ID, taskState=TaskState.FINISHED, taskResult=TaskResult.CLEAN_SUCCESS, code=0, message="m"
    )
    assert status.is_done
    assert status.to_wire() == STOCK


def test_the_extension_adds_progress_and_incarnation() -> None:
    ours = {**STOCK, "taskState": "running", "taskResult": "", "progress": None, "incarnation": "i-1"}
    status = TaskStatus.model_validate(ours)
    assert not status.is_done
    assert status.to_wire() == ours


def test_a_word_that_no_host_says_is_refused() -> None:
    with pytest.raises(ValidationError):
        TaskStatus.model_validate({**STOCK, "taskResult": "succeeded"})


def test_every_code_has_one_number() -> None:
    assert len({code.value for code in Code}) == len(Code.__members__) == len(Code)
