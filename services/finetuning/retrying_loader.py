"""Loads images, retrying transient errors."""

import threading
import time

from PIL import Image

from services.finetuning.plan import TrainingImage
from studio.images.loader import ImageLoader, PassingImageError, decode

WAITS = (0.5, 2.0, 5.0)  # seconds between tries of one image
MOST_FAULTS = 0.02  # share of the images that may stay out of reach


class RetryingLoader:
    """Loads images, with retries. Safe to share between threads.

    Attributes:
        outage: why images are out of reach, once they are too many to go on without them.
    """

    def __init__(self, loader: ImageLoader, images: int) -> None:
        self.outage: str | None = None
        self._loader = loader
        self._most = max(2, MOST_FAULTS * images)
        self._faults = 0
        self._lock = threading.Lock()

    def load(self, item: TrainingImage) -> Image.Image:
        """The item's image, RGB. Raises PermanentImageError or PassingImageError."""
        for wait in WAITS:
            try:
                return self._load(item)
            except PassingImageError:
                if self.outage is not None:
                    raise
                time.sleep(wait)
        try:
            return self._load(item)
        except PassingImageError as error:
            with self._lock:
                self._faults += 1
                if self._faults > self._most:
                    self.outage = str(error)
            raise

    def _load(self, item: TrainingImage) -> Image.Image:
        return decode(self._loader.fetch(item.uri, item.task), self._loader.policy)
