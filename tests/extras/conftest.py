"""The tests of optional extras: each is collected only in an environment that has its extra.

`make test-extras` makes these environments.
"""

from importlib.util import find_spec
from pathlib import Path

EXTRAS = {"test_keras.py": "keras", "test_tensorflow.py": "tensorflow"}

collect_ignore = [file for file, package in EXTRAS.items() if find_spec(package) is None]
if not (Path(__file__).parents[2] / ".venv-label-studio-ml" / "bin" / "python").exists():
    collect_ignore.append("test_label_studio_ml.py")  # it starts label-studio-ml's own server
