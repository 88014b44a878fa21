"""Record of jobs that outlives the process, in SQLite."""

from __future__ import annotations

import itertools
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from addon.wire import payload
from addon.wire.errors import CannotWrite, Remedy, error_from_dict, error_to_dict

from .job import QueuedJob
from .tasks import resume_remedy

log = logging.getLogger(__name__)


class JobJournal:
    """SQLite table of the jobs and their ends. The file is locked by this process while it lives, so that two backends
    never take each other's running jobs for interrupted ones."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._database = self._open_free(folder)
        except (sqlite3.Error, OSError) as error:
            raise CannotWrite(
                f"The list of jobs in {folder} cannot be opened ({error}). Check the disk's space and permissions.",
                remedy=Remedy("open_folder", "Show the folder", str(folder)),
            ) from error
        self._lock = threading.Lock()

    @staticmethod
    def _open_free(folder: Path) -> sqlite3.Connection:
        for number in itertools.count(1):
            path = folder / f"jobs-{number}.sqlite"
            database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
            try:
                # exclusive: held until the process ends, however it ends. Without fsync a power cut may lose the last
                # jobs; a killed process loses nothing.
                database.execute("PRAGMA locking_mode = EXCLUSIVE")
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = OFF")
                database.executescript(
                    """
                    BEGIN IMMEDIATE;
                    CREATE TABLE IF NOT EXISTS jobs (
                        id TEXT PRIMARY KEY, task TEXT NOT NULL, request TEXT NOT NULL, submitted_at REAL NOT NULL,
                        kind TEXT NOT NULL DEFAULT 'queued', ended_at REAL, error TEXT, result_bytes INTEGER,
                        sequence INTEGER NOT NULL DEFAULT 0);
                    COMMIT;
                    """
                )
                if [row[0] for row in database.execute("PRAGMA quick_check")] != ["ok"]:
                    raise sqlite3.DatabaseError("its pages are damaged")
                return database
            except sqlite3.DatabaseError as error:
                database.close()
                if isinstance(error, sqlite3.OperationalError) and "locked" in str(error) and number < 64:
                    continue
                if isinstance(error, sqlite3.OperationalError):
                    raise
                log.warning("%s is damaged (%s); it is set aside", path, error)
                path.replace(path.with_suffix(".damaged"))
                for rest in ("-wal", "-shm"):
                    path.with_name(path.name + rest).unlink(missing_ok=True)
                return JobJournal._open_free(folder)
        raise AssertionError("unreachable")

    def _write(self, sql: str, *values: Any) -> None:
        with self._lock:
            self._database.execute(sql, values)

    def submitted(self, job: QueuedJob) -> None:
        """Record a job before it is promised to anybody. Raises CannotWrite."""
        text = payload.to_json(job.request).decode()
        try:
            self._write(
                "INSERT INTO jobs (id, task, request, submitted_at) VALUES (?, ?, ?, ?)",
                job.id, job.task, text, job.submitted_at,
            )  # fmt: skip
        except sqlite3.Error as error:
            raise CannotWrite(
                f"The job could not be recorded ({error}): the disk may be full. Free some space and try again."
            ) from error

    def ended(self, job: QueuedJob, sequence: int, result_bytes: int) -> None:
        """Record the end; if that fails, the next process reports the job as interrupted."""
        error = None if job.error is None else json.dumps(error_to_dict(job.error))
        self._best_effort(
            "UPDATE jobs SET kind = ?, ended_at = ?, error = ?, result_bytes = ?, sequence = ? WHERE id = ?",
            job.kind, time.time(), error, result_bytes, sequence, job.id,
        )  # fmt: skip

    def forget(self, job: str) -> None:
        """Remove a job."""
        self._best_effort("DELETE FROM jobs WHERE id = ?", job)

    def _best_effort(self, sql: str, *values: Any) -> None:
        try:
            self._write(sql, *values)
        except sqlite3.Error as error:
            log.error("The list of jobs cannot be written: %s", error)

    def jobs(self) -> Iterator[tuple[QueuedJob, int]]:
        """Yield the recorded jobs with the sequence number of their last event, oldest first."""
        with self._lock:
            rows = self._database.execute(
                "SELECT id, task, request, submitted_at, kind, error, sequence FROM jobs ORDER BY submitted_at"
            ).fetchall()
        for id, task, request, submitted_at, kind, error, sequence in rows:
            job = QueuedJob(id, task, None, None, submitted_at, kind)
            job.name = str(json.loads(request).get("name", "")) if resume_remedy(task, "") else ""
            job.fraction = 1.0 if kind == "done" else 0.0
            job.error = error_from_dict(json.loads(error)) if error else None
            yield job, sequence

    def close(self) -> None:
        """Let another process have the file."""
        with self._lock:
            self._database.close()
