"""The local GPU backend of Likeness."""

import os

# onnxruntime from PyPI keeps events about each session in ~/.cache/Microsoft and sends them to its makers; it asks this once, when it is
# loaded (its `disable_telemetry_events` comes too late). Nothing of what is done here leaves the computer, so the answer stands here,
# before any import of it. Who wants to send them sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
