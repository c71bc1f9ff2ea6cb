"""Names of results, for any tree of names: each original has one of its own, on every file system, or it is refused."""

from __future__ import annotations

import os
import unicodedata

from hypothesis import assume, given
from hypothesis import strategies as st

from poolwise.jobs.images.names import EXTENSIONS, clash, result_name

names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..")
)
few = st.sampled_from(["a", "A", "\u00e4", "a\u0308", "\u212b", "ß", "ss", "I", "i"])
suffixes = st.sampled_from([".jpg", ".JPG", ".jpeg", ".png", ".webp", ".gif", ".avif", ".Tiff", ""])
paths = st.lists(names | few, max_size=2).flatmap(
    lambda folders: st.builds(lambda stem, suffix: os.path.join(*folders, stem + suffix), names | few, suffixes)
)
formats = st.sampled_from([None, *EXTENSIONS])


@given(paths, formats)
def test_a_result_stays_where_its_original_is(path: str, image_format: str | None) -> None:
    """The same folder and stem; an extension of the format; naming again changes nothing."""
    name = result_name(path, image_format)
    assert os.path.dirname(name) == os.path.dirname(path)
    assert result_name(name, image_format) == name
    if image_format is None:
        assert name == path
    else:
        assert os.path.splitext(name)[1].lower() in EXTENSIONS[image_format]
        assert name == path or os.path.splitext(name)[0] == os.path.splitext(path)[0]


@given(st.lists(paths, max_size=12, unique=True), formats)
def test_what_is_not_refused_is_apart(originals: list[str], image_format: str | None) -> None:
    """No two results are equal by case and Unicode form, and none is where another needs a folder."""
    assume(clash(originals, image_format) is None)
    results = [result_name(path, image_format) for path in originals]
    for form in ("NFC", "NFD", "NFKC"):
        for fold in (str.lower, str.casefold):
            known = {unicodedata.normalize(form, fold(unicodedata.normalize(form, name))) for name in results}
            assert len(known) == len(results)
    taken = {name.casefold() for name in results}
    for name in results:
        parts = name.casefold().split(os.sep)
        assert not taken & {os.sep.join(parts[:count]) for count in range(1, len(parts))}


@given(st.lists(paths, min_size=1, max_size=6, unique=True), formats, st.data())
def test_what_is_one_name_is_refused(originals: list[str], image_format: str | None, data: st.DataObject) -> None:
    """Another spelling of a name that is there: in the other case, or in the other form."""
    path = data.draw(st.sampled_from(originals))
    other = data.draw(
        st.sampled_from([path.swapcase(), unicodedata.normalize("NFD", path), unicodedata.normalize("NFC", path)])
    )
    assume(other not in originals)
    assume(result_name(path, image_format) != result_name(other, image_format))
    same_form = unicodedata.normalize("NFC", path) == unicodedata.normalize("NFC", other)
    assume(same_form or path.casefold() == other.casefold())
    sentence = clash([*originals, other], image_format)
    assert sentence is not None


@given(st.lists(paths, max_size=8), formats)
def test_the_same_path_twice_is_one_name(originals: list[str], image_format: str | None) -> None:
    """A list with a repetition clashes with itself."""
    if originals:
        assert clash([*originals, originals[0]], image_format) is not None
