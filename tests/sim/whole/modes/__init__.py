"""The work of a seed of `--work modes`: jobs of every mode, and what is built on locks, queues and conditions.

It draws from a stream of its own, so that seeds of the plain work stay what they are. As there, the checks know what
clients were told, what hosts saw run, and what befell whom (`weather`); nothing of how it is made.
"""
