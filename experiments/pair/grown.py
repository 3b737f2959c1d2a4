"""The large model's first weights, from a smaller one: grown.py SMALL OUT [LAYER ...]

Without layers: every width doubled, and two layers more. With them: the same widths, a layer more after each one named.
"""

import sys
from pathlib import Path

from corea.train.grow import grow

if __name__ == "__main__":
    small, out, *layers = sys.argv[1:]
    if layers:
        print(grow(Path(small), Path(out), new_after=tuple(map(int, layers)), wider=False))
    else:
        print(grow(Path(small), Path(out)))
