"""Layer 1, data sets & problem spaces: what a member is."""

from __future__ import annotations

import abc

from dlas.context import Context
from dlas.layer import Member


class Dataset(Member, frozen=True, kw_only=True):
    """A data set. Splits and normalization are fixed by the spec alone."""

    @abc.abstractmethod
    def make(self, context: Context) -> None:
        """Write ``context.folder`` as ``dlas.data.write_data`` does. Raises InputError."""
        raise NotImplementedError
