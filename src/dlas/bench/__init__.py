"""Benchmarks: dlas beside the runtimes that users would pick instead, interleaved in one run.

    cases ─▶ making (compile every contender, check its scores) ─▶ timing ─▶ rows ─▶ tables, JSON

A *case* is a network; a *contender* is a way to run it; a *peer* is a contender that is not ours.
"""
