"""Files of rows, the one reader of them all: questions, datasets and recordings.

In the order in which a file meets them: `byte_streams` (its bytes as UTF-8, unpacked), `readers` (the rows of JSON
lines, JSON arrays, CSV and Parquet), `rows` (the format that a name gives, and errors with path and line).
"""
