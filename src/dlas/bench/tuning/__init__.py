"""``dlas bench tuning``: how good a search is after so many measured candidates and so much time.

    layers ─▶ space: every candidate measured, in turns ─▶ methods: replayed on these times ─▶ rows
    networks: tuned with what is known of the others only, timed; what was predicted ─▶ rows

Methods are replayed, so that all are judged by the very same measurements: a candidate has one
time, whoever picks it.
"""
