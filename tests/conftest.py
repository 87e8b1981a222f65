"""What every test shares: quiet TensorFlow."""

from __future__ import annotations

import os

# before anything imports TensorFlow: its C++ side reads the variable once
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
