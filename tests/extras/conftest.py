"""The tests of optional extras: each is collected only in an environment that has its extra.

`make test-extras` makes these environments.
"""

from importlib.util import find_spec

EXTRAS = {"test_keras.py": "keras", "test_tensorflow.py": "tensorflow"}

collect_ignore = [file for file, package in EXTRAS.items() if find_spec(package) is None]
