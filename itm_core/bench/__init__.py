"""Benchmarks: what the methods cost, beside what they would cost if nothing but arithmetic did.

`itm bench` runs them. `methods` says what is timed, `scoring` races each method against its plain
twin and the bare product, `growth` makes the gallery larger, `training` and `loading` time a step
and its data, `search` the two stages. `alone` gives a measurement a process of its own, `record`
keeps the numbers, `targets` says what they should be.
"""
