"""Only permitted licences ship, and THIRD_PARTY.md tells them."""

from __future__ import annotations

from infra.third_party import ROOT, document, permitted, refused


def test_no_package_or_jar_has_a_licence_that_is_not_permitted() -> None:
    assert refused() == []


def test_a_copyleft_package_would_be_refused() -> None:
    assert not permitted("GPL-3.0-only")
    assert not permitted("unknown")


def test_third_party_is_up_to_date() -> None:
    assert (ROOT / "THIRD_PARTY.md").read_text() == document()
