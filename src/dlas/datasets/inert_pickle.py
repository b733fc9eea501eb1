"""Take a pickle of plain data and numpy arrays apart without running any of it.

``pickle`` is not imported. The standard library's disassembler gives the opcodes, and those that
CIFAR-10's python batches consist of (protocol 2, Python 2) are carried out on lists, dictionaries
and text. A call that they ask for becomes a ``Call`` that says so; nothing is ever called.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass
from typing import Any

#: What describes a numpy array: the names only, they are not looked up either.
ADMITTED = ("numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype")


@dataclass
class Call:
    """A call that the pickle asks for, not made, and the state that its result should get."""

    function: Any
    arguments: Any
    state: Any = None


def read_pickle(content: bytes) -> Any:
    """What the pickle describes, with byte strings as latin-1 text. ValueError, with a reason, for
    damage, for names outside ``ADMITTED`` and for opcodes that plain data does not need. Memory
    and time grow with the length of ``content`` alone."""
    try:
        return _carried_out(content)
    except (LookupError, TypeError, AttributeError):
        raise ValueError("its opcodes make no sense") from None


def _carried_out(content: bytes) -> Any:
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def popped(start: int) -> list[Any]:
        items = stack[start:]
        del stack[start:]
        return items

    argument: Any
    for opcode, argument, _ in pickletools.genops(content):
        match opcode.name:
            case "PROTO":
                pass
            case "BININT" | "BININT1" | "BININT2" | "BINSTRING" | "SHORT_BINSTRING":
                stack.append(argument)
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(opcode.name == "NEWTRUE")
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(popped(-int(opcode.name[-1]))))
            case "MARK":
                marks.append(len(stack))
            case "TUPLE":
                stack.append(tuple(popped(marks.pop())))
            case "APPEND" | "APPENDS":
                items = popped(-1 if opcode.name == "APPEND" else marks.pop())
                stack[-1].extend(items)
            case "SETITEM" | "SETITEMS":
                items = popped(-2 if opcode.name == "SETITEM" else marks.pop())
                _update(stack[-1], items)
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                if argument not in ADMITTED:
                    name = argument.replace(" ", ".")
                    raise ValueError(f"it asks for {name}, which is not plain data")
                stack.append(argument)
            case "REDUCE":
                stack.append(Call(*popped(-2)))
            case "BUILD":
                (state,) = popped(-1)
                stack[-1].state = state
            case "STOP":
                return stack.pop()
            case name:
                raise ValueError(f"its opcode {name} is not needed for plain data")
    raise ValueError("it has no end")


def _update(target: dict[str, Any], items: list[Any]) -> None:
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, str):
            raise TypeError("only text names a field")
        target[key] = value
