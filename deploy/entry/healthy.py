#!/usr/bin/env python3
"""Exit 0 if the address given answers 200 within 5 s; for health checks in images without curl."""

from __future__ import annotations

import sys
import urllib.request

try:
    with urllib.request.urlopen(sys.argv[1], timeout=5) as answer:
        sys.exit(0 if answer.status == 200 else 1)
except OSError as error:
    sys.exit(f"{sys.argv[1]}: {error}")
