"""Bugs in the agent: its journal, its tasks, and what it takes from whom."""

from planted.bug import Bug

OF_AGENT = (
    Bug(
        "agent_term_unchecked",
        "The agent does what a former owner of a flow asks for.",
        "agent/tasks/intake.py",
        "        if highest is not None and sender.term < highest:\n",
        "        if highest is not None and sender.term < highest - 1:\n",
        (9,),
    ),
    Bug(
        "agent_terms_forgotten",
        "The terms of flows do not survive the agent.",
        "agent/tasks/table.py",
        '            self._record({"kind": "terms", "terms": {flow: term}})\n',
        '            self.ledger.apply({"kind": "terms", "terms": {flow: term}})\n',
        (9,),
    ),
    Bug(
        "tombstones_forgotten",
        "The ids of cleared tasks are free again.",
        "agent/journal/ledger.py",
        "                    self.tasks.pop(task_id, None)\n                    self._closed.put(task_id, None)\n",
        "                    self.tasks.pop(task_id, None)\n",
        (8, 17),
    ),
    Bug(
        "forbidden_not_closed",
        "An id that the agent has said it does not know may still be started by an older request.",
        "agent/tasks/intake.py",
        "            self._table.forbid_unless_closed(task_id, FOREVER if is_for_good else term)\n",
        "",
        (8, 9, 17),
    ),
    Bug(
        "journal_not_fsynced",
        "The journal answers for what is written, before it is on the disk.",
        "agent/journal/journal.py",
        "        self._file.write(data)\n        self._file.fsync()\n",
        "        self._file.write(data)\n",
        (8,),
    ),
    Bug(
        "step_begun_not_noted",
        "A step begins before the journal says so durably.",
        "agent/tasks/runner.py",
        "            self._table.change(task.id, is_begun=True, recoveries=recoveries, message=message)\n"
        "            await self._table.sync()\n",
        "            self._table.change(task.id, is_begun=True, recoveries=recoveries, message=message)\n",
        (8,),
    ),
    Bug(
        "once_run_again",
        "A step that must not happen twice is done again after a crash in its middle.",
        "agent/tasks/runner.py",
        "        if task.is_begun and step.kind is StepKind.ONCE:\n            return Failure(",
        "        if task.is_begun and step.kind is StepKind.ONCE and step.is_no_return:\n            return Failure(",
        (8,),
    ),
    Bug(
        "observable_not_looked_at",
        "A step whose effect is there after a crash is done again.",
        "agent/tasks/runner.py",
        "    if is_resumed and step.holds is not None and await",
        "    if not is_resumed and step.holds is not None and await",
        (8,),
    ),
    Bug(
        "undo_stops_after_one",
        "Of what a task has done only the latest step is taken back, and nothing is said to remain.",
        "agent/tasks/undoing.py",
        "        while self._task.recoveries and not self._task.is_giving_up:\n"
        "            await self._undo_latest()\n        return not self._task.recoveries\n",
        "        await self._undo_latest()\n        return True\n",
        (8,),
    ),
    Bug(
        "undo_forgets_earlier_steps",
        "Of the steps of a task only the last one is noted as to be undone.",
        "agent/tasks/runner.py",
        "recoveries = (*task.recoveries, step.name) if",
        "recoveries = (step.name,) if",
        (8,),
    ),
    Bug(
        "once_said_clean",
        "A step that may happen once, in whose middle the agent has died, is said to have failed without an effect.",
        "agent/tasks/runner.py",
        "                Code.OUTCOME_UNKNOWN,\n"
        '                f"the agent ended inside the step {step.name!r}, which may have happened; look at the host",\n'
        "                is_unclean=True,\n",
        '                Code.GENERAL,\n                f"the agent ended inside the step {step.name!r}",\n',
        (8,),
    ),
    Bug(
        "stop_of_what_is_over",
        "A task that was stopped is said to have been rolled back, though its step had come to its end.",
        "agent/tasks/undoing.py",
        "            failure = await attempt(partial(step.undo, self._work), self._task)\n",
        "            failure = None if self._task.is_stopping else await attempt(\n"
        "                partial(step.undo, self._work), self._task\n            )\n",
        (8,),
    ),
    Bug(
        "finished_before_it_is",
        "A task that is stopped in its last step has succeeded.",
        "agent/tasks/runner.py",
        "            if failure is not None:\n                is_unclean",
        "            if failure is not None and not (\n"
        "                self._table[task_id].is_stopping and task.steps_done + 1 == len(program.steps)\n"
        "            ):\n                is_unclean",
        (6,),
    ),
)
