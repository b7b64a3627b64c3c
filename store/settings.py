"""Every setting, with its unit, its default and one sentence of help."""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, FilePath, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from store.guest_settings import GuestSettings

HOST = re.compile(r"[A-Za-z0-9._:-]+")


class Settings(GuestSettings):
    """Settings from the environment, `APPRENTICE_…` unless another name is shown.

    The four without the prefix keep the names that users of label-studio-ml know.
    """

    model_config = SettingsConfigDict(
        env_prefix="APPRENTICE_", extra="ignore", populate_by_name=True, env_ignore_empty=True
    )

    home: Path = Field(
        default=Path("~/.apprentice"),
        description="Data folder: database, inbox, embeddings, models, logs.",
    )
    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on; any other than loopback requires basic authentication.",
    )
    port: int = Field(default=9090, ge=1, le=65535, description="Port to listen on.")
    public_url: str | None = Field(
        default=None,
        description="URL under which Label Studio reaches Apprentice; by default http://HOST:PORT.",
    )
    allow_open: bool = Field(
        default=False,
        description="Listen on a non-loopback address without basic authentication: true, false.",
    )
    allowed_hosts: str = Field(
        default="",
        description="Further names by which the server may be called, separated by commas: "
        "`ml.example.com`, `*.example.com`, or `*` for any.",
    )
    basic_auth_user: str | None = Field(
        default=None,
        validation_alias=AliasChoices("BASIC_AUTH_USER", "basic_auth_user"),
        description="User that Label Studio and people must send; set together with the password.",
    )
    basic_auth_pass: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("BASIC_AUTH_PASS", "basic_auth_pass"),
        description="Password for BASIC_AUTH_USER.",
    )
    label_studio_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("LABEL_STUDIO_URL", "label_studio_url"),
        description="URL of the Label Studio of the default connection.",
    )
    label_studio_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("LABEL_STUDIO_API_KEY", "label_studio_api_key"),
        description="Personal Access Token (or legacy token) for it.",
    )
    redis_url: str | None = Field(
        default=None,
        description="Redis or Valkey for the queues, such as rediss://USER@HOST:6379/0 (TLS) or "
        "redis://…; by default an embedded Valkey is started.",
    )
    redis_password: SecretStr | None = Field(
        default=None,
        description="Password for APPRENTICE_REDIS_URL, where the URL has none.",
    )
    redis_ca_file: FilePath | None = Field(
        default=None,
        description="Certificates (PEM file) to trust for rediss://; by default the system's.",
    )
    database_url: str | None = Field(
        default=None,
        description="SQLAlchemy URL of the database; by default SQLite in the home folder.",
    )
    storage_url: str | None = Field(
        default=None,
        description="fsspec URL of the folder for models; by default one in the home folder.",
    )
    backbone: str = Field(default="bundled:lite0", description="Pretrained backbone, by name.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where the backbone runs: auto, cpu or cuda."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="Precision of embeddings: auto uses bfloat16 where the processor supports it.",
    )
    shard_images: int = Field(
        default=64,
        ge=1,
        description="Images in one shard, where several workers share a large project's images.",
    )
    head: str = Field(
        default="auto",
        description="Kind of head where each image gets one class: auto compares all; or one of "
        "prototype, ridge, logistic, svm, forest, knn.",
    )
    finetune: Literal["auto", "manual"] = Field(
        default="auto",
        description="When a backbone is fine-tuned: auto where it may improve "
        "accuracy, manual on request only.",
    )
    augment: Literal["none", "gentle", "photo", "texture"] = Field(
        default="gentle",
        description="Augmentation in fine-tuning: none, gentle, photo or texture; only the last "
        "two mirror images.",
    )
    min_confidence: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Suggestions below this probability are not shown; they only order the queue.",
    )
    blind_share: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Share of the tasks that are shown no suggestion: the control "
        "group of the ledger.",
    )
    relabel_most: int = Field(
        default=0,
        ge=0,
        le=200,
        description="Number of doubtful labels listed in a Label Studio tab for a "
        "second look; 0: none.",
    )
    reconcile_seconds: float = Field(
        default=60,
        gt=0,
        description="Seconds between synchronisations with Label Studio, which catch missed "
        "changes. Where changes are polled, between two looks at titles and label configs; all the "
        "rest is compared ten times as rarely.",
    )
    poll_seconds: float = Field(
        default=1,
        gt=0,
        description="Least seconds between two looks for changes while someone labels, where "
        "Label Studio's webhooks don't arrive.",
    )
    poll_idle_seconds: float = Field(
        default=30,
        gt=0,
        description="Most seconds between two such looks while nobody labels.",
    )
    publish_min_labels: int = Field(
        default=5,
        ge=1,
        description="New labels that make a new version at once (or 5% of the labels, if more).",
    )
    publish_pause_seconds: float = Field(
        default=2,
        ge=0,
        description="Fewer new labels make a new version at once, or, when half of our share of "
        "Label Studio's time is used up, after this many seconds without a label.",
    )
    studio_share: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="Share of Label Studio's time that publishing may take.",
    )
    strategy: str = Field(
        default="auto",
        description="Strategy that chooses the next images: auto, or one by name.",
    )
    shortlist_min: int = Field(
        default=50, ge=1, description="Least number of tasks on a shortlist."
    )
    shortlist_minutes: float = Field(
        default=30,
        gt=0,
        description="Minutes of the team's work that a shortlist covers, if that is more tasks.",
    )
    audit_share: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Share of the shortlist that is drawn at random, for unbiased estimates.",
    )
    keep_versions_hours: float = Field(
        default=24,
        ge=0,
        description="Hours after which predictions of a superseded version, and a fine-tuned "
        "backbone that no version needs any more, are deleted.",
    )
    image_max_bytes: int = Field(
        default=50_000_000, gt=0, description="Largest image file that is loaded, in bytes."
    )
    image_max_pixels: int = Field(
        default=50_000_000, gt=0, description="Largest image that is decoded, in pixels."
    )
    image_timeout_seconds: float = Field(
        default=20, gt=0, description="Seconds that loading one image may take."
    )
    image_private_addresses: str = Field(
        default="false",
        description="Private addresses besides Label Studio's that images are loaded from: false, "
        "true for all, or hosts and networks between commas (minio.local,10.1.0.0/16).",
    )
    predict_seconds: float = Field(
        default=45,
        gt=0,
        le=90,
        description="Seconds that one /predict may take; missing predictions are pushed later.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe log lines shown."
    )

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("public_url", "label_studio_url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not value.startswith(("http://", "https://")):
            raise ValueError(f"must begin with http:// or https://, not {value!r}")
        return value.rstrip("/")

    @field_validator("image_private_addresses", mode="before")
    @classmethod
    def _addresses(cls, value: object) -> str:
        words = {"1": "true", "yes": "true", "on": "true", "0": "false", "no": "false"}
        text = str(value).strip()
        text = words.get(text.lower(), text)
        for entry in filter(None, map(str.strip, text.split(","))):
            if "/" in entry:
                ip_network(entry, strict=False)  # its error names the entry
            elif not HOST.fullmatch(entry):
                raise ValueError(f"{entry!r} is neither a host nor a network such as 10.1.0.0/16")
        return text

    @field_validator("database_url")
    @classmethod
    def _sqlalchemy(cls, value: str | None) -> str | None:
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            make_url(value or "sqlite://").get_dialect()
        except ArgumentError:
            raise ValueError("is no SQLAlchemy URL, such as postgresql://HOST/NAME") from None
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: str | None) -> str | None:
        if value is None or value.startswith(("redis://", "rediss://", "unix://")):
            return value
        raise ValueError("must begin with redis://, rediss:// or unix://")

    @property
    def url(self) -> str:
        """The URL under which Label Studio reaches us, without a slash at the end."""
        host = "localhost" if self.host in {"127.0.0.1", "0.0.0.0", "::", "::1"} else self.host  # noqa: S104
        return self.public_url or f"http://{host}:{self.port}"

    @property
    def basic_auth(self) -> tuple[str, str] | None:
        """User and password that others must send us; None when everyone may come in."""
        if self.basic_auth_user and self.basic_auth_pass:
            return self.basic_auth_user, self.basic_auth_pass.get_secret_value()
        return None

    @property
    def database(self) -> str:
        """The SQLAlchemy URL of the database."""
        return self.database_url or f"sqlite:///{self.home / 'apprentice.db'}"

    @property
    def storage(self) -> str:
        """The fsspec URL of the folder for model artifacts."""
        return self.storage_url or str(self.home / "artifacts")

    @property
    def inference_socket(self) -> Path:
        """The unix socket of the inference process."""
        return self.home / "run" / "inference.sock"
