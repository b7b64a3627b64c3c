"""Settings: each is documented, bad ones are refused in words."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from store.settings import Settings

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"


def variables() -> list[tuple[str, str]]:
    listed = []
    for name, field in Settings.model_fields.items():
        alias = getattr(field.validation_alias, "choices", [f"APPRENTICE_{name.upper()}"])[0]
        listed.append((str(alias), field.description or ""))
    return listed


@pytest.mark.parametrize(("variable", "help_text"), variables())
def test_every_setting_is_documented(variable: str, help_text: str) -> None:
    assert help_text
    row = next(line for line in DOCS.read_text().splitlines() if f"| `{variable}` |" in line)
    assert help_text in row


def test_the_names_that_label_studio_ml_users_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://studio:8080/")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "secret")
    monkeypatch.setenv("APPRENTICE_PORT", "9191")
    settings = Settings()
    assert settings.label_studio_url == "http://studio:8080"
    assert settings.url == "http://localhost:9191"
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("APPRENTICE_PORT", "99999"),
        ("APPRENTICE_MIN_CONFIDENCE", "1.5"),
        ("APPRENTICE_DEVICE", "tpu"),
        ("LABEL_STUDIO_URL", "studio:8080"),
    ],
)
def test_a_bad_value_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValidationError):
        Settings()


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPRENTICE_REDIS_URL", "")
    assert Settings().redis_url is None
