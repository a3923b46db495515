"""`framed`, beside this file, is for all tests of decoding; tests/events uses it, too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
