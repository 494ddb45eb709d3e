"""Names of networks: what is read, what is refused, and with which advice."""

from __future__ import annotations

import subprocess
import sys

import pytest

from keronyx.errors import UsageError
from keronyx.zoo.names import FAMILIES, Family, NetworkName, names, parse


def test_the_zoo_has_the_five_networks_and_the_second_form_of_model_v4() -> None:
    assert names() == ("unet", "unet-spatial", "unet-dilated", "model-v4", "model-v4-pixel", "enet")


def test_a_bare_name_means_the_published_width() -> None:
    assert parse("unet") == NetworkName("unet", 64)


def test_a_colon_sets_the_width() -> None:
    assert parse("unet:16") == NetworkName("unet", 16)
    assert parse("enet:32") == NetworkName("enet", 32)


@pytest.mark.parametrize("text", [*names(), "unet:16", "model-v4:8", "model-v4-pixel:10", "enet:16"])
def test_a_name_is_written_as_it_was_read(text: str) -> None:
    assert str(parse(text)) == text


def test_the_published_width_is_left_out_when_written() -> None:
    assert str(parse("unet:64")) == "unet"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_smallest_width_is_taken_and_one_less_is_not(family: Family) -> None:
    assert parse(f"{family.name}:{family.min_width}").width == family.min_width
    with pytest.raises(UsageError):
        parse(f"{family.name}:{family.min_width - 1}")


@pytest.mark.parametrize(
    ("typed", "meant"), [("unett", "unet"), ("Unet", "unet"), ("e-net", "enet"), ("model_v4:16", "model-v4")]
)
def test_an_unknown_name_is_answered_with_the_closest(typed: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(typed)
    assert meant in caught.value.remedy.rstrip("?").split()


def test_a_name_like_no_other_is_answered_with_the_whole_list() -> None:
    with pytest.raises(UsageError) as caught:
        parse("zzzzzz")
    assert all(name in caught.value.remedy for name in names())


@pytest.mark.parametrize(
    "text",
    [
        *("", "unet:", "unet:0", "unet:-4", "unet:4.5", "unet:x", "unet:²", "unet:1025", "unet:" + "9" * 5000),
        *("unet:16:16", "enet:24", "enet:8", "model-v4:9", "model-v4:6"),
    ],
)
def test_a_width_that_does_not_scale_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert caught.value.remedy
    assert "\n" not in caught.value.message + caught.value.remedy


def test_listing_the_zoo_imports_nothing_heavy() -> None:
    code = (
        "import sys, keronyx.zoo, keronyx.zoo.names; "
        "print(sorted({'numpy', 'keras', 'tensorflow', 'PIL'} & set(sys.modules)))"
    )
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert listed.stdout.strip() == "[]"
