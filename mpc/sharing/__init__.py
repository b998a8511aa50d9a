"""The share engine: computing on values that nobody holds.

A shared column is one array of ring words at each holder, (n,) or (n, 2), which add up to the value modulo 2^64 or
2^128. Sums, differences and public multiples are local. What is not goes through these, one protocol a file:

    circle.py     who holds shares, who deals, and the words that the dealer shares with each holder
    opening.py    holders open a masked column to each other
    multiply.py   products (P4); products with a column that one holder knows
    bits.py       ANDs of XOR-shared bits; a bit from XOR to arithmetic shares
    compare.py    sign, less-than and equality (P5)

Each operation is a generator for the holders and one of the same name with ``deal_`` for the helper. The helper deals
and hears nothing at all: a test reads every message of every operation and fails if one goes to it.
"""
