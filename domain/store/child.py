"""Another process of this program that imports what it works with, and nothing else.

multiprocessing either forks, and shares the caller's sockets and locks, or spawns, and then every
process imports the caller's whole main program, which takes longer than most work here. This is a
bare interpreter that runs one function. A connection leads to it: when the caller is gone, however
that came, the connection ends, so that no process is ever left behind.
"""

import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

_PROGRAM = """import sys
descriptor, *sys.path[:] = sys.argv[1:]
from domain.store.child import begin
begin(int(descriptor))"""


class Child:
    """A process that runs a function, which is given the other end of `connection` first."""

    def __init__(self, function: Callable[..., None], *arguments: Any) -> None:
        """function: of a module that can be imported; arguments: what can be pickled.

        What was handed over stands in no command line and no environment.
        Raises: OSError if no process can be started.
        """
        ours, theirs = socket.socketpair()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), *sys.path],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # an interrupt is the caller's, who ends us
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self.connection = Connection(ours.detach())
        self.send((function, arguments))

    def send(self, what: Any) -> None:
        """Hand something over; if the process is no more, that shows in its answer."""
        with suppress(BrokenPipeError):
            self.connection.send(what)

    def end(self) -> None:
        """Stop it, whatever it is doing."""
        self.connection.close()
        self.process.kill()
        self.process.wait()


def begin(descriptor: int) -> None:
    """What runs in the process. An error that nobody foresaw ends it, in one line."""
    connection = Connection(descriptor)
    try:
        function, arguments = connection.recv()
        function(connection, *arguments)
    except (EOFError, ConnectionError):
        pass  # the caller is gone
    except Exception as error:
        sys.exit(f"certledger: a process beside the program failed: {error!r}")
