"""`tapes` beside this file is for all tests of the tape."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
