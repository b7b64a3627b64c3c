"""Finds or downloads files of pretrained weights, and reads them without unpickling."""

import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from model.backbones.downloads import (
    check_reachable,
    download_file,
    download_from_hub,
    hub_address,
    is_offline,
)
from model.backbones.registry import BackboneSpec, BackboneUnavailableError

if TYPE_CHECKING:
    import torch

# The names that timm looks for in a repository of the Hugging Face hub, best first.
HUB_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Source:
    """A URL or a repository of the Hugging Face hub with a file of weights."""

    url: str | None = None  # of a file; cached in torch's own cache
    hub_id: str | None = None  # a repository of the Hugging Face hub: "timm/resnet18.a1_in1k"
    hub_files: tuple[str, ...] = HUB_FILES


def find_weights(name: str, sources: Iterable[Source]) -> Path:
    """Return the first file of `sources`: one on this machine, else a download.

    Raises BackboneUnavailableError, which says where the file was searched.
    """
    sources = tuple(sources)
    if (path := local_weights(sources)) is not None:
        return path
    searched = [f"  {place}: not there" for source in sources for place in _places(source)]
    for source in sources:
        try:
            return _download(source)
        except (OSError, ValueError) as error:
            searched.append(f"  {_address(source)}: {_reason(error)}")
    raise BackboneUnavailableError(
        f"The weights of {name} can't be had. They were looked for in\n"
        + "\n".join(searched or ["  no place: nobody published any"])
        + "\nConnect this machine to the internet once, copy the file to one of these places, or "
        "name a file of weights: file:PATH?model=FAMILY:MODEL"
    )


def local_weights(sources: Iterable[Source]) -> Path | None:
    """Return the first of the sources' files that is on this machine; None when none is."""
    files = (place for source in sources for place in _places(source) if place.is_file())
    return next(files, None)


def read_state_dict(path: Path) -> dict[str, "torch.Tensor"]:
    """Read the tensors of a safetensors file, or of a state dict that torch saved.

    Raises BackboneUnavailableError.
    """
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # PyTorch's own message advises to load it all the same.
        raise BackboneUnavailableError(
            f"{path} can't be read as a state dict: it holds other Python objects, which could run "
            "code and are never loaded; save it with torch.save(model.state_dict(), path)"
        ) from error
    except Exception as error:  # what a damaged file raises is not documented
        raise BackboneUnavailableError(
            f"{path} can't be read as a state dict: {_reason(error)}"
        ) from error
    # Training scripts save the state dict beside the optimiser's.
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(torch.is_tensor(v) for v in state.values()):
        raise BackboneUnavailableError(
            f"{path} holds no state dict: save one with torch.save(model.state_dict(), path)"
        )
    return state


def existing_file(backbone: str, name: str, suffixes: tuple[str, ...]) -> Path:
    """Return the file of an absolute path in a backbone's name. Raises BackboneUnavailableError."""
    path = Path(name).expanduser()
    if not path.is_absolute():
        raise BackboneUnavailableError(
            f"{backbone}: write the file's whole path, such as {path.absolute()}"
        )
    if not path.is_file():
        raise BackboneUnavailableError(f"{backbone}: there is no file {path}")
    if path.suffix.lower() not in suffixes:
        raise BackboneUnavailableError(
            f"{backbone}: {path.name} ends with none of {', '.join(suffixes)}"
        )
    return path


def feature_count(module: "torch.nn.Module", spec: BackboneSpec) -> int:
    """Return the number of features of an image. Raises BackboneUnavailableError."""
    import torch

    with torch.inference_mode():
        features: Any = module.eval()(torch.zeros(1, 3, *spec.shape))
    shape = tuple(features.shape) if torch.is_tensor(features) else type(features).__name__
    if not torch.is_tensor(features) or features.ndim != 2 or len(features) != 1:
        raise BackboneUnavailableError(f"{spec.name} gives {shape} of an image, not one vector")
    return int(features.shape[1])


def _places(source: Source) -> list[Path]:
    places = []
    if source.hub_id is not None:
        places += _in_hub_cache(source.hub_id, source.hub_files)
    if source.url is not None:
        places.append(_torch_cache() / Path(urlsplit(source.url).path).name)
    return places


def _in_hub_cache(hub_id: str, files: tuple[str, ...]) -> list[Path]:
    from huggingface_hub import constants, try_to_load_from_cache

    repository, _, revision = hub_id.partition("@")
    cached = [try_to_load_from_cache(repository, file, revision=revision or None) for file in files]
    folder = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    return [Path(path) for path in cached if isinstance(path, str)] or [folder]


def _torch_cache() -> Path:
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def _address(source: Source) -> str:
    if source.hub_id is None:
        return source.url or ""
    return f"{hub_address()}/{source.hub_id.partition('@')[0]}"


def _download(source: Source) -> Path:
    if is_offline():
        raise OSError("not asked, since HF_HUB_OFFLINE is set")
    check_reachable(_address(source))
    if source.hub_id is not None:
        return download_from_hub(source.hub_id, source.hub_files)
    if source.url is None:
        raise ValueError("no address")
    return download_file(source.url, _torch_cache())


def _reason(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
