"""`RSession`: the embedded R, run by one thread that does the work of all callers."""

from __future__ import annotations

import contextlib
import ctypes
import locale
import os
import queue
import signal
import threading
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, NoReturn

from pymackay._resources import r_reference_path
from pymackay.errors import ArgumentError, PymackayError, RError, RUnavailableError
from pymackay.incoming.reticulate import started_by_r
from pymackay.reference.r.bridge import GET_R, r_calls_us, r_library, r_lock, rinterface
from pymackay.reference.r.scripts import SCRIPTS
from pymackay.reference.r.start import start_r
from pymackay.reference.r.values import to_python, to_r

STACK_BYTES = 256 * 2**20  # R's limit of 5000 nested calls needs far more than the usual 8 MB
INTERRUPT_SECONDS = 5.0  # time that Ctrl-C gives R to reach a point where it can stop


@dataclass(frozen=True)
class Outcome:
    """The result of a call of an R function.

    Attributes
    ----------
    value : object
        The function's value as Python data; see `pymackay.reference.r.values`.
    warnings, messages : tuple of str
        R's warnings and messages during the call, in order.
    """

    value: Any
    warnings: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()


class RObject:
    """Handle of an object in R, identified by a number; R frees the object with the handle.

    A handle can be pickled, but raises an error when it is used in another process.
    """

    def __init__(self, owner: RSession | None, number: int) -> None:
        self.owner = owner
        self.number = number
        if owner is not None:
            weakref.finalize(self, owner.release, number).atexit = False

    def __reduce__(self) -> tuple[Any, ...]:
        return (RObject, (None, self.number))


@dataclass
class _Job:
    """A function to run in R's thread, and its value or error."""

    work: Callable[[], Any]
    done: threading.Event = field(default_factory=threading.Event)
    value: Any = None
    error: BaseException | None = None

    def run(self) -> None:
        try:
            self.value = self.work()
        except BaseException as error:
            self.error = _without_frames(error)
        finally:
            self.work = _nothing
            self.done.set()


def _without_frames(error: BaseException) -> BaseException:
    """Return an error without frames, whose R objects only R's thread may free."""
    if not isinstance(error, PymackayError):
        error.add_note("".join(traceback.format_exception(error)))
    error.__context__ = error.__cause__ = None
    return error.with_traceback(None)


def _nothing() -> None:
    """Replace finished work, so that its R objects are freed in R's thread."""


class RSession:
    """R in this process, usable from any thread. Get the only instance by `session()`.

    Raises
    ------
    RUnavailableError
        If rpy2, R or lme4 is missing; the message says which, and how to install it.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._current: _Job | None = None
        self._current_lock = threading.Lock()
        self._thread = None if started_by_r() else _start_thread(self._serve)
        self._submit(self._start)
        _reinstall_sigint()

    def call(self, function: str, *arguments: Any, **named: Any) -> Outcome:
        """Call a function of the scripts in ``r_reference/``.

        Parameters
        ----------
        function : str
            Its name.
        *arguments, **named : object
            Python data, see `pymackay.reference.r.values`; an `RObject` for its object in R.

        Raises
        ------
        RError
            If R stops with an error; R's message is passed on.
        ArgumentError
            If R reports that an argument of the user is wrong.
        KeyboardInterrupt
            If Ctrl-C is pressed while R computes; R stops too. While R waits (``Sys.sleep``, a
            connection), it handles Ctrl-C by a jump between threads, which ends the process.
        """
        pairs = [("", value) for value in arguments] + list(named.items())
        result = self._submit(lambda: self._call(function, pairs))
        (status,) = result["status"]
        if status == "interrupted":
            raise KeyboardInterrupt
        if status != "ok":
            _raise(status, result["error"][0], result["where"][0])
        return Outcome(result["value"], tuple(result["warnings"]), tuple(result["messages"]))

    @property
    def versions(self) -> dict[str, str]:
        """Package to version; for BLAS the name of its file and of the folder of the file."""
        blas = "/".join(PurePath(self.libraries["BLAS"]).parts[-2:])
        return {**self.libraries, "BLAS": blas}

    def double_bar(self) -> dict[str, str]:
        """Return R's option ``lme4.doublevert.default`` as it is now, as a part of `versions`."""
        now = self.call("versions").value
        return {"doublevert": now["doublevert"][0]} if "doublevert" in now else {}

    def owns(self, value: Any) -> bool:
        """Whether `value` is an R object as rpy2 holds it."""
        return isinstance(value, rinterface().sexp.Sexp)

    def kept(self, number: int) -> RObject:
        """Return the handle of an object that an R function has stored."""
        return RObject(self, number)

    def release(self, number: int) -> None:
        """Let R free a stored object, without waiting: the garbage collector calls this."""
        if self.pid == os.getpid():
            self._jobs.put(_Job(lambda: self._call("forget", [("", number)])))

    def _call(self, function: str, arguments: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        with r_lock(), self._in_utf8():
            values = [self._resolve(value) for _, value in arguments]
            r_arguments = to_r(values, names=[name for name, _ in arguments])
            return to_python(self._scripts["run"](to_r(function), r_arguments))

    @contextlib.contextmanager
    def _in_utf8(self) -> Iterator[None]:
        """Let R use UTF-8, and restore the locale of the process at the end."""
        place = locale.setlocale(locale.LC_CTYPE)
        if "utf" in place.lower():
            yield
            return
        if not self._scripts["use_utf8"]()[0]:
            warnings.warn("R found no UTF-8 locale; names beyond ASCII may not work", stacklevel=2)
        try:
            yield
        finally:
            self._scripts["use_ctype"](to_r(place))

    def _resolve(self, value: Any) -> Any:
        if not isinstance(value, RObject):
            return value
        if value.owner is not self:
            raise PymackayError(
                "this fit was made in another process, whose R objects are not available here. "
                "Fit the model again in this process."
            )
        return self._scripts["recall"](to_r(value.number))

    def _submit(self, work: Callable[[], Any]) -> Any:
        """Run `work` in R's thread, wait for it, and return its value."""
        if self.pid != os.getpid():
            raise RError(
                f"R was started in process {self.pid}, of which this process is a fork, and R does "
                "not survive a fork. Start processes with "
                "multiprocessing.get_context('spawn') instead."
            )
        job = _Job(work)
        if self._belongs_here():
            job.run()
        else:
            self._jobs.put(job)
            self._wait(job)
        if job.error is not None:
            raise job.error
        return job.value

    def _belongs_here(self) -> bool:
        """Whether the calling thread is the one to do R's work."""
        here = threading.current_thread()
        if self._thread is not None:
            return here is self._thread or r_calls_us()
        if here is not threading.main_thread():
            raise RError(
                "this Python was started by R, which can be asked from the main thread only, and "
                f"thread {here.name!r} asks. Call pymackay.lme4 from the main thread."
            )
        while not self._jobs.empty():  # what was let go, which no other thread can free
            self._jobs.get().run()
        # older reticulates free Python objects without Python's lock, unless they are freed now
        ctypes.PyDLL(None).R_gc()
        return True

    def _wait(self, job: _Job) -> None:
        try:
            job.done.wait()
        except BaseException:  # Ctrl-C, or an error from another signal handler
            self._interrupt(job)
            job.done.wait(INTERRUPT_SECONDS)
            raise

    def _interrupt(self, job: _Job) -> None:
        """Ask R to stop if it runs this job; a job that has not begun is cancelled."""
        with self._current_lock:
            if self._current is job:
                r_library().R_interrupts_pending = 1
            elif not job.done.is_set():
                job.work = _nothing

    def _serve(self) -> None:
        """Run the jobs one after the other, without end; the main function of R's thread."""
        while True:
            job = self._jobs.get()
            with self._current_lock:
                self._current = job
            job.run()
            with self._current_lock:
                self._current = None
                if hasattr(self, "_scripts"):
                    r_library().R_interrupts_pending = 0
            del job

    def _start(self) -> None:
        """Start R, load lme4 and read the scripts; runs in R's thread."""
        interface = start_r()
        base = interface.baseenv
        try:
            base["loadNamespace"](to_r("lme4"))
        except interface.embedded.RRuntimeError as error:
            raise RUnavailableError(f"R cannot load lme4: {_tidy(str(error))}. {GET_R}") from None
        scripts = base["new.env"](parent=base)  # so that the user's variables do not interfere
        for name in SCRIPTS:
            base["sys.source"](to_r(str(r_reference_path(name))), scripts)
        self._scripts = scripts
        libraries = self._call("versions", [])["value"]
        self.libraries = {name: values[0] for name, values in libraries.items()}


_session: RSession | None = None
_session_failure: RUnavailableError | None = None
_session_lock = threading.Lock()


def session() -> RSession:
    """Return the R of this process, which is started on the first call.

    Raises
    ------
    RUnavailableError
        If R is not available; the message says what is missing and how to install it.
    """
    global _session, _session_failure
    with _session_lock:
        if _session_failure is not None:
            raise RUnavailableError(str(_session_failure))
        if _session is None:
            try:
                _session = RSession()
            except RUnavailableError as error:
                _session_failure = error
                raise
        return _session


def why_unavailable() -> str:
    """Return why R could not be started, or an empty string."""
    return "" if _session_failure is None else str(_session_failure)


def _new_lock_after_fork() -> None:
    """Give a forked child a new lock, because a thread of the parent may hold the old one."""
    global _session_lock
    _session_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock_after_fork)


def _start_thread(serve: Callable[[], None]) -> threading.Thread:
    previous = threading.stack_size(STACK_BYTES)
    try:
        thread = threading.Thread(target=serve, name="pymackay-R", daemon=True)
        thread.start()
    finally:
        threading.stack_size(previous)
    return thread


def _reinstall_sigint() -> None:
    """Restore Python's handler of Ctrl-C, in case starting R has replaced it."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is threading.main_thread() and handler is not None:
        signal.signal(signal.SIGINT, handler)


def _raise(status: str, message: str, where: str) -> NoReturn:
    if status == "bad_argument":
        raise ArgumentError(f"{_tidy(message)}.")
    raise RError(f"R stopped{f' in {where}()' if where else ''}: {_tidy(message)}")


def _tidy(message: str) -> str:
    return " ".join(message.split()).removesuffix(".")
