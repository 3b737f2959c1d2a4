"""The mathematics of the grader `maths`, free of sympy: from the writing of two answers to whether they are equal.

In order of use: `notation` (tokens), `spelling` (numbers in words), `expression` (a tree), `units`, `forms` (value,
list, interval, ...), `phrasing` (the words around an answer), `structure` (reads a form), `arithmetic` (values of a
tree), `equality` (of two trees) and `comparison` (of two forms).
"""
