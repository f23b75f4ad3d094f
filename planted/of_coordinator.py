"""Bugs in the running engine, its store, and how it speaks with hosts."""

from planted.bug import Bug

OF_COORDINATOR = (
    Bug(
        "sent_before_the_commit",
        "A task is handed to its host's watch as soon as a run has made it, not when that is committed.",
        "coordinator/engine.py",
        "            self._loop.call_soon_threadsafe(self._stored, work)\n        else:\n",
        "            self._loop.call_soon_threadsafe(self._stored, work)\n        else:\n"
        "            for change in work.change_set.changes:\n"
        "                if isinstance(change.new, TaskRecord) and wants_action(change) and change.old is None:\n"
        "                    self._loop.call_soon_threadsafe(\n"
        "                        lambda task=change.new: self._actor.task_stored(task, 1, fresh=True, priority=0)\n"
        "                    )\n",
        (7,),
    ),
    Bug(
        "sent_unbound",
        "A task is sent although its row does not say yet to which journal of the host.",
        "coordinator/starting.py",
        "    if task.incarnation is None:\n        return TaskBound(task.id, link.incarnation)\n"
        "    if task.incarnation != link.incarnation:\n",
        "    if task.incarnation not in (None, link.incarnation):\n",
        (7,),
    ),
    Bug(
        "taken_over_as_fresh",
        "After a crash a task without an answer is taken for one that was never sent.",
        "coordinator/engine.py",
        "self._actor.task_stored(task, job.term, fresh=False, priority=job.priority)",
        "self._actor.task_stored(task, job.term, fresh=True, priority=job.priority)",
        (8, 9),
    ),
    Bug(
        "sent_again_unasked",
        "A start that had no answer is sent again without asking the host for it.",
        "coordinator/starting.py",
        "    if not watched.harmless:\n        if not link.dedupes:",
        "    if not watched.harmless and task.stopping is not None:\n        if not link.dedupes:",
        (8, 9),
    ),
    Bug(
        "other_journal_sent_again",
        "A host that was installed anew is asked for a task of before, and does it once more.",
        "coordinator/starting.py",
        "    if task.incarnation != link.incarnation:\n        return _other_journal(watched)\n",
        "",
        (7, 8),
    ),
    Bug(
        "other_journal_never_ran",
        "A task that a host may have begun before it was installed anew is said to have done nothing.",
        "coordinator/starting.py",
        '    if watched.harmless:\n        return TaskEnded(task.id, Outcome.REFUSED, message=f"{words}; it did',
        '    if task.outcome is None:\n        return TaskEnded(task.id, Outcome.REFUSED, message=f"{words}; it did',
        (8,),
    ),
    Bug(
        "lost_told_as_success",
        "A task that its host does not know any more is told to have succeeded.",
        "coordinator/host_watch.py",
        "            self._drop(task, TaskEnded(task.id, Outcome.LOST, message=words))\n",
        "            self._drop(task, TaskEnded(task.id, Outcome.SUCCEEDED, message=words))\n",
        (6,),
    ),
    Bug(
        "absence_in_the_list_believed",
        "A task that the list of all tasks leaves out is lost, without being asked for by its id.",
        "coordinator/host_watch.py",
        "                report = await self._ask(link, watched)\n",
        '                self._drop(watched.task, TaskEnded(watched.task.id, Outcome.LOST, message="not listed"))\n',
        (17,),
    ),
    Bug(
        "judged_by_code",
        "How a task ended is read off its code, not its result.",
        "hosts/vdsm.py",
        "    if status.taskResult is TaskResult.SUCCESS:\n",
        "    if status.code == 0:\n",
        (6, 8),
    ),
    Bug(
        "late_look_believed",
        "A look that is answered after a task has ended tells of its end again, and the task is not cleared.",
        "coordinator/host_watch.py",
        "        return self._running.get(watched.task.id) is watched\n",
        "        return True\n",
        (23,),
    ),
    Bug(
        "cleared_before_the_commit",
        "A host is told to forget a task as soon as it says that it has ended.",
        "coordinator/host_watch.py",
        "            if report is not None and self._is_watched(watched):\n"
        "                self._judge(watched, report)\n",
        "            if report is not None and self._is_watched(watched):\n"
        "                if report.outcome is not None:\n"
        "                    await link.clear(watched.task, watched.term)\n"
        "                self._judge(watched, report)\n",
        (7,),
    ),
    Bug(
        "term_not_raised",
        "A flow that is taken over keeps its term.",
        "coordinator/recovery.py",
        "term=flow.job.term + 1, claims",
        "term=flow.job.term, claims",
        (9,),
    ),
    Bug(
        "correlation_of_the_flow",
        "Calls to a host bear the flow's id as their correlation id.",
        "hosts/vdsm.py",
        "            headers[CORRELATION_HEADER] = task.correlation_id\n",
        "            headers[CORRELATION_HEADER] = str(task.flow_id)\n",
        (22,),
    ),
    Bug(
        "locks_of_a_batch_unseen",
        "Two flows that are committed together do not see each other's locks.",
        "coordinator/checking.py",
        "            elif isinstance(change.new, LockRecord):\n                self._hold(change.new)\n",
        "",
        (10,),
    ),
    Bug(
        "locks_not_checked_again",
        "Whether a lock is still free is not looked at again before the commit.",
        "coordinator/checking.py",
        "                if flow_id != each.flow.id and conflict(mode, other):\n                    return False\n",
        "                if flow_id == each.flow.id and conflict(mode, other):\n                    continue\n",
        (10,),
    ),
    Bug(
        "key_ignored",
        "The idempotency key of a submission is not stored.",
        "coordinator/accepting.py",
        "            idempotency_key=submission.idempotency_key,\n            digest=digest,",
        "            idempotency_key=None,\n            digest=digest,",
        (1,),
    ),
    Bug(
        "answered_before_the_commit",
        "Whoever submits a job is told that it is accepted when its rows are made, not when they are committed.",
        "coordinator/engine.py",
        "        else:\n            self.writer.put(work)\n\n    # after the commit",
        "        else:\n"
        "            if work.slot.submission is not None and work.slot.submission.idempotency_key is not None:\n"
        "                self._loop.call_soon_threadsafe(accepted, work.slot)\n"
        "            self.writer.put(work)\n\n    # after the commit",
        (1,),
    ),
    Bug(
        "action_not_noted",
        "That a person has changed a job's priority is not in the audit log.",
        "coordinator/controlling.py",
        "            auditing.note(flow, wish, what, now, before=before, after=after)\n",
        "            if what is not Action.JOB_PRIORITY:\n"
        "                auditing.note(flow, wish, what, now, before=before, after=after)\n",
        (24,),
    ),
    Bug(
        "waiters_not_taken_over",
        "Who waits for a lock is not woken after a crash when it comes free.",
        "coordinator/engine.py",
        "        self._waking.taken_up(slot.flow)\n",
        "",
        (23,),
    ),
    Bug(
        "database_blamed_on_a_flow",
        "A run in which the database was lost counts as one in which the flow has a bug.",
        "coordinator/engine.py",
        "        if self._database.is_lost(error):  # not the flow's fault: a new engine starts from the rows\n",
        "        if isinstance(error, SystemExit):\n",
        (1, 23),
    ),
    Bug(
        "cancel_lost_in_an_error",
        "What is cancelled while it waits for a database that is gone goes on as if it were not.",
        "coordinator/closing.py",
        "    if cancelled is not None:  # also where it failed: who was cancelled must not go on\n"
        "        raise cancelled from task.exception()\n    return task.result()\n",
        "    result = task.result()\n    if cancelled is not None:\n        raise cancelled\n    return result\n",
        (23,),
    ),
)
