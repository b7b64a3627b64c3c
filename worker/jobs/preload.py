"""Imports in a worker what the processes of its jobs, which it forks, would import each time."""

import importlib

CONFIG = """<View><Image name="image" value="$image"/><Choices name="kind" toName="image">
<Choice value="a"/></Choices></View>"""


def preload(queue: str) -> None:
    """Import the job's module, what all jobs use, and the job's own preloads. Opens nothing."""
    job = importlib.import_module(f"worker.jobs.{queue}")
    _preload_common()
    own = getattr(job, "preload", None)
    if own is not None:
        own()


def _preload_common() -> None:
    import fsspec

    from studio.certificates import trusted_certificates
    from studio.config import parse_label_config

    fsspec.url_to_fs(".")
    parse_label_config(CONFIG)  # it imports the SDK's parser
    trusted_certificates()
