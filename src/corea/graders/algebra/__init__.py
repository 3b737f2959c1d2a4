"""Comparison of mathematical answers, without sympy.

In order of use: `phrasing` (the words around an answer), `notation` (tokens), `reader` (tokens to a form), `forms`
(value, list, interval, ...), `expression` (tokens to a tree), `comparison` (of two forms), `equality` (of two trees)
and `evaluation` (values of a tree).
"""
