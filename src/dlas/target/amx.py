"""Leave to use AMX: its registers are 8 KiB that Linux must save for every thread, so a process
asks for them before it first uses them.

Source: Linux, Documentation/arch/x86/xstate.rst.
"""

from __future__ import annotations

import ctypes
import platform

#: arch_prctl's number, what is asked of it, and the part of the processor's state.
ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, TILE_DATA = 158, 0x1023, 18


def use_matrix_registers() -> bool:
    """Ask for this process and all its threads; False where there are none, or not for us."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return False
    refused = ctypes.CDLL(None).syscall(ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, TILE_DATA)
    return not refused
