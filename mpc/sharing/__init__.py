"""The share engine: computing on values that nobody holds.

A shared column is one array of ring words at each holder, (n,) or (n, 2), which add up to the value modulo 2^64 or
2^128. One protocol a file:

    shares.py     a shared column as a value, sharing an input (P1), and what is local: sums, public multiples, …
    circle.py     who holds shares, who deals, and the words that the dealer shares with each holder
    opening.py    holders open a masked column to each other
    multiply.py   products (P4); products with a column that one holder knows; select
    bits.py       ANDs of XOR-shared bits; a bit from XOR to arithmetic shares
    compare.py    sign, less-than and equality (P5)
    permute.py    columns in an order that one holder knows (P7)

Each operation is a generator for the holders and one of the same name with ``deal_`` for the helper; a protocol made of
several calls both in the same order, each under a step of its own. The helper deals and hears nothing at all: a test
reads every message of every operation and fails if one goes to it. Results are let out by mpc/protocols/total.py (P2).
"""
