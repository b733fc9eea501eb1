"""The narrow numbers that images and weights are stored in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Number:
    """``stored``: the type of an image's elements; bfloat16 is kept as its 16 bits. ``weight``: of
    the weights that they are multiplied by. ``total``: of the sums."""

    name: str
    stored: str
    weight: str
    total: str
    bytes: int

    @property
    def is_integer(self) -> bool:
        return self.total == "int32"

    @property
    def in_word(self) -> int:
        """Elements in 4 bytes: what a 32-bit lane multiplies at once."""
        return 4 // self.bytes


NUMBERS = {
    "uint8": Number("uint8", "uint8", "int8", "int32", 1),
    "int8": Number("int8", "int8", "int8", "int32", 1),
    "bfloat16": Number("bfloat16", "uint16", "uint16", "float32", 2),
}
