"""What we serve: vendored files as locked, views that exist and stay small, one place for Streamlit's selectors."""

from __future__ import annotations

import hashlib
import re

import pytest

from dashboards.index import HEAD, with_head
from dashboards.shell import entries
from dashboards.views import STATIC, view

VENDOR = STATIC / "vendor"
OWN = sorted([*STATIC.glob("*.js"), *STATIC.glob("lib/*.js"), *STATIC.glob("views/*.js")])


def test_every_vendored_file_is_locked_by_its_hash_and_licence() -> None:
    rows = [line.split() for line in (STATIC / "vendor.lock").read_text().splitlines() if not line.startswith("#")]
    found = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in VENDOR.iterdir()}
    assert {row[0]: row[1] for row in rows} == found
    assert {row[2] for row in rows} <= {"MIT", "OFL-1.1"}


def test_no_module_is_longer_than_a_hundred_and_fifty_lines() -> None:
    assert [(p.name, n) for p in OWN if (n := len(p.read_text().splitlines())) > 150] == []


def test_every_import_of_a_module_exists() -> None:
    missing = [
        f"{path.name}: {target}"
        for path in OWN
        for target in re.findall(r'from "(\.[^"]+)"', path.read_text())
        if not (path.parent / target).resolve().is_file()
    ]
    assert missing == []


def test_nothing_we_serve_names_another_host() -> None:
    texts = [*OWN, *STATIC.glob("*.css")]
    assert [p.name for p in texts if re.search(r"https?://(?!www\.w3\.org/)", p.read_text())] == []


def test_only_shell_css_names_test_ids_of_streamlit() -> None:
    assert [p.name for p in STATIC.glob("*.css") if "data-testid" in p.read_text() and p.name != "shell.css"] == []


def test_styles_and_modules_of_the_index_page_exist() -> None:
    for address in re.findall(r'(?:href|src)="/tf/([^"]+)"', HEAD):
        assert (STATIC / address).is_file(), address


def test_the_index_page_has_our_head_before_its_end_and_boxes_in_its_root() -> None:
    page = with_head('<html><head><title>x</title></head><body><div id="root"></div></body></html>')
    assert page.index("/tf/shell.css") < page.index("</head>")
    assert 'class="tf-boot"' in page


def test_a_view_without_a_module_is_refused_by_name() -> None:
    with pytest.raises(LookupError, match=r"view 'nothing': static/views/nothing\.js does not exist"):
        view("nothing")()


def test_pages_are_found_by_being_there_in_their_order() -> None:
    names = [e.name for e in entries()]
    assert names[:2] == ["overview", "twin"]
    assert [e.module.ORDER for e in entries()] == sorted(e.module.ORDER for e in entries())
