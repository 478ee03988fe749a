"""What runs in a process of its own that needs nothing imported anew, and can be killed."""

import os
import traceback

import torch


def in_a_fork(act):
    """Run `act` in another process, on one thread; its number."""
    child = os.fork()
    if child == 0:
        try:
            torch.set_num_threads(1)  # the other threads were left behind
            act()
        except BaseException:  # noqa: BLE001 - a fork must not go on as the test run
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def ended(child):
    """A process's exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
