"""Version 1: the triggers that refuse illegal moves, for either database."""

SQLITE_TRIGGERS = (
    """CREATE TRIGGER command_entities_moves BEFORE UPDATE OF state ON command_entities
WHEN OLD.state <> NEW.state
BEGIN
  SELECT CASE
    WHEN OLD.state = 'VALIDATING' AND NEW.state = 'PENDING'
      THEN RAISE(ABORT, 'a command cannot go from VALIDATING to PENDING')
    WHEN OLD.state = 'EXECUTING' AND NEW.state = 'PENDING'
      THEN RAISE(ABORT, 'a command cannot go from EXECUTING to PENDING')
    WHEN OLD.state = 'EXECUTING' AND NEW.state = 'VALIDATING'
      THEN RAISE(ABORT, 'a command cannot go from EXECUTING to VALIDATING')
    WHEN OLD.state = 'COMPENSATING' AND NEW.state = 'PENDING'
      THEN RAISE(ABORT, 'a command cannot go from COMPENSATING to PENDING')
    WHEN OLD.state = 'COMPENSATING' AND NEW.state = 'VALIDATING'
      THEN RAISE(ABORT, 'a command cannot go from COMPENSATING to VALIDATING')
    WHEN OLD.state = 'COMPENSATING' AND NEW.state = 'EXECUTING'
      THEN RAISE(ABORT, 'a command cannot go from COMPENSATING to EXECUTING')
    WHEN OLD.state = 'FINALIZING' AND NEW.state = 'PENDING'
      THEN RAISE(ABORT, 'a command cannot go from FINALIZING to PENDING')
    WHEN OLD.state = 'FINALIZING' AND NEW.state = 'VALIDATING'
      THEN RAISE(ABORT, 'a command cannot go from FINALIZING to VALIDATING')
    WHEN OLD.state = 'FINALIZING' AND NEW.state = 'EXECUTING'
      THEN RAISE(ABORT, 'a command cannot go from FINALIZING to EXECUTING')
    WHEN OLD.state = 'FINALIZING' AND NEW.state = 'COMPENSATING'
      THEN RAISE(ABORT, 'a command cannot go from FINALIZING to COMPENSATING')
    WHEN OLD.state = 'ENDED' AND NEW.state = 'PENDING'
      THEN RAISE(ABORT, 'a command cannot go from ENDED to PENDING')
    WHEN OLD.state = 'ENDED' AND NEW.state = 'VALIDATING'
      THEN RAISE(ABORT, 'a command cannot go from ENDED to VALIDATING')
    WHEN OLD.state = 'ENDED' AND NEW.state = 'EXECUTING'
      THEN RAISE(ABORT, 'a command cannot go from ENDED to EXECUTING')
    WHEN OLD.state = 'ENDED' AND NEW.state = 'COMPENSATING'
      THEN RAISE(ABORT, 'a command cannot go from ENDED to COMPENSATING')
    WHEN OLD.state = 'ENDED' AND NEW.state = 'FINALIZING'
      THEN RAISE(ABORT, 'a command cannot go from ENDED to FINALIZING')
  END;
END""",
    """CREATE TRIGGER command_entities_end BEFORE UPDATE OF result, ended_at ON command_entities
WHEN OLD.state = 'ENDED' AND (OLD.result IS NOT NEW.result OR OLD.ended_at IS NOT NEW.ended_at)
BEGIN
  SELECT RAISE(ABORT, 'the end of a command cannot be changed');
END""",
    """CREATE TRIGGER async_tasks_moves BEFORE UPDATE OF state ON async_tasks
WHEN OLD.state <> NEW.state
BEGIN
  SELECT CASE
    WHEN OLD.state = 'Polling' AND NEW.state = 'Initializing'
      THEN RAISE(ABORT, 'a task cannot go from Polling to Initializing')
    WHEN OLD.state = 'Ended' AND NEW.state = 'Initializing'
      THEN RAISE(ABORT, 'a task cannot go from Ended to Initializing')
    WHEN OLD.state = 'Ended' AND NEW.state = 'Polling'
      THEN RAISE(ABORT, 'a task cannot go from Ended to Polling')
    WHEN OLD.state = 'ClearFailed' AND NEW.state = 'Initializing'
      THEN RAISE(ABORT, 'a task cannot go from ClearFailed to Initializing')
    WHEN OLD.state = 'ClearFailed' AND NEW.state = 'Polling'
      THEN RAISE(ABORT, 'a task cannot go from ClearFailed to Polling')
    WHEN OLD.state = 'ClearFailed' AND NEW.state = 'Ended'
      THEN RAISE(ABORT, 'a task cannot go from ClearFailed to Ended')
    WHEN OLD.state = 'Cleared' AND NEW.state = 'Initializing'
      THEN RAISE(ABORT, 'a task cannot go from Cleared to Initializing')
    WHEN OLD.state = 'Cleared' AND NEW.state = 'Polling'
      THEN RAISE(ABORT, 'a task cannot go from Cleared to Polling')
    WHEN OLD.state = 'Cleared' AND NEW.state = 'Ended'
      THEN RAISE(ABORT, 'a task cannot go from Cleared to Ended')
    WHEN OLD.state = 'Cleared' AND NEW.state = 'ClearFailed'
      THEN RAISE(ABORT, 'a task cannot go from Cleared to ClearFailed')
  END;
END""",
    """CREATE TRIGGER async_tasks_end BEFORE UPDATE OF outcome, ended_at ON async_tasks
WHEN OLD.outcome IS NOT NULL AND (OLD.outcome IS NOT NEW.outcome OR OLD.ended_at IS NOT NEW.ended_at)
BEGIN
  SELECT RAISE(ABORT, 'the end of a task cannot be changed');
END""",
)

POSTGRESQL_TRIGGERS = (
    """CREATE FUNCTION command_entities_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (OLD.state, NEW.state) IN (
    ('VALIDATING', 'PENDING'),
    ('EXECUTING', 'PENDING'),
    ('EXECUTING', 'VALIDATING'),
    ('COMPENSATING', 'PENDING'),
    ('COMPENSATING', 'VALIDATING'),
    ('COMPENSATING', 'EXECUTING'),
    ('FINALIZING', 'PENDING'),
    ('FINALIZING', 'VALIDATING'),
    ('FINALIZING', 'EXECUTING'),
    ('FINALIZING', 'COMPENSATING'),
    ('ENDED', 'PENDING'),
    ('ENDED', 'VALIDATING'),
    ('ENDED', 'EXECUTING'),
    ('ENDED', 'COMPENSATING'),
    ('ENDED', 'FINALIZING')
  ) THEN
    RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
      MESSAGE = 'a command cannot go from ' || OLD.state || ' to ' || NEW.state;
  END IF;
  RETURN NEW;
END $$""",
    """CREATE TRIGGER command_entities_moves BEFORE UPDATE OF state ON command_entities
FOR EACH ROW EXECUTE FUNCTION command_entities_moves()""",
    """CREATE FUNCTION command_entities_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.state = 'ENDED' AND (OLD.result IS DISTINCT FROM NEW.result OR OLD.ended_at IS DISTINCT FROM NEW.ended_at) THEN
    RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
      MESSAGE = 'the end of a command cannot be changed';
  END IF;
  RETURN NEW;
END $$""",
    """CREATE TRIGGER command_entities_end BEFORE UPDATE OF result, ended_at ON command_entities
FOR EACH ROW EXECUTE FUNCTION command_entities_end()""",
    """CREATE FUNCTION async_tasks_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (OLD.state, NEW.state) IN (
    ('Polling', 'Initializing'),
    ('Ended', 'Initializing'),
    ('Ended', 'Polling'),
    ('ClearFailed', 'Initializing'),
    ('ClearFailed', 'Polling'),
    ('ClearFailed', 'Ended'),
    ('Cleared', 'Initializing'),
    ('Cleared', 'Polling'),
    ('Cleared', 'Ended'),
    ('Cleared', 'ClearFailed')
  ) THEN
    RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
      MESSAGE = 'a task cannot go from ' || OLD.state || ' to ' || NEW.state;
  END IF;
  RETURN NEW;
END $$""",
    """CREATE TRIGGER async_tasks_moves BEFORE UPDATE OF state ON async_tasks
FOR EACH ROW EXECUTE FUNCTION async_tasks_moves()""",
    """CREATE FUNCTION async_tasks_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.outcome IS NOT NULL AND (OLD.outcome IS DISTINCT FROM NEW.outcome OR OLD.ended_at IS DISTINCT FROM NEW.ended_at) THEN
    RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
      MESSAGE = 'the end of a task cannot be changed';
  END IF;
  RETURN NEW;
END $$""",
    """CREATE TRIGGER async_tasks_end BEFORE UPDATE OF outcome, ended_at ON async_tasks
FOR EACH ROW EXECUTE FUNCTION async_tasks_end()""",
)
