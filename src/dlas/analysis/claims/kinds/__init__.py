"""The closed vocabulary of tests: one file per kind, ``TABLE`` by name."""

from __future__ import annotations

from dlas.analysis.claims.kinds.average import Average
from dlas.analysis.claims.kinds.base import Test
from dlas.analysis.claims.kinds.correlation import Correlation
from dlas.analysis.claims.kinds.differs import Differs
from dlas.analysis.claims.kinds.faster import Faster
from dlas.analysis.claims.kinds.flip import Flip
from dlas.analysis.claims.kinds.gain import Gain
from dlas.analysis.claims.kinds.promise import Promise

TABLE: dict[str, type[Test]] = {
    "faster": Faster,
    "promise": Promise,
    "gain": Gain,
    "flip": Flip,
    "differs": Differs,
    "average": Average,
    "correlation": Correlation,
}
