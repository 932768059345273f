"""Where this installation's own files are."""

from __future__ import annotations

from pathlib import Path
from typing import Final

ENGINE_ROOT: Final = Path(__file__).resolve().parents[2]
SHIPPED_WORKERS: Final = ENGINE_ROOT / "workers"
DOTENV: Final = ENGINE_ROOT / ".env"
