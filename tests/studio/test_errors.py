"""Label Studio's refusals are recognised by its words."""

import pytest

from studio.errors import Refusal, StudioRejected, StudioUnreachable


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        ("URL resolves to a reserved network address", Refusal.PRIVATE_ADDRESS),
        ("Can't resolve hostname apprentice.lan", Refusal.UNRESOLVED_HOST),
        ("ML backend health check failed", Refusal.UNREACHABLE_BACKEND),
        ("Missing or wrong authentication parameters", Refusal.WRONG_PASSWORD),
        ("Enter a valid URL.", Refusal.INVALID_URL),
        ("Invalid pk 0", None),
    ],
)
def test_a_refusal_is_known_by_its_words(words: str, refusal: Refusal | None) -> None:
    assert StudioRejected(f"POST http://localhost/api/ml/: 400, {words}").refusal is refusal


def test_no_answer_is_no_refusal() -> None:
    assert StudioUnreachable("POST http://localhost/api/ml/ did not answer in time").refusal is None
