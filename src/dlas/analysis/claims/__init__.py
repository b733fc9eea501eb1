"""Published claims as data, and what a study says about them: ``judge(published(), frame)``.

A claim is a statement, its source, and tests that say in a closed vocabulary (``kinds``) what
must be seen for it to hold. ``docs/claims.md`` describes the files that users write.
"""

from __future__ import annotations

from dlas.analysis.claims.claim import Claim, Source, open_claims, published
from dlas.analysis.claims.judge import judge
from dlas.analysis.claims.verdict import Number, Verdict

__all__ = ["Claim", "Number", "Source", "Verdict", "judge", "open_claims", "published"]
