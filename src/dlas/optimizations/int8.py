"""``int8``"""
from __future__ import annotations
from typing import ClassVar
from dlas.optimizations.base import Optimization
class Int8(Optimization, frozen=True, kw_only=True):
    name: ClassVar[str] = "int8"
