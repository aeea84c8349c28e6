import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maestune.recipes.writing import toml_text

texts = st.text(st.characters(exclude_categories=("Cs",)))
plain = st.one_of(st.floats(allow_nan=False), st.integers(-(2**62), 2**62), st.booleans(), texts)
tables = st.recursive(
    st.dictionaries(texts, st.one_of(plain, st.lists(plain)), max_size=3),
    lambda inner: st.dictionaries(texts, st.one_of(plain, inner, st.lists(inner, min_size=1, max_size=3)), max_size=3),
    max_leaves=8,
)


@given(tables)
def test_everything_that_is_written_is_read_back(data):
    assert tomllib.loads(toml_text(data)) == data


@pytest.mark.parametrize("text", ["a\nb", "\n", "a\n", '"""\n', "\r\n", "\\\n", 'x\n""""""', "tab\t\nnul\0"])
def test_paragraphs_are_written_as_such(text):
    written = toml_text({"a": text})
    assert tomllib.loads(written) == {"a": text}
    assert written.startswith('a = """\n')


def test_what_has_no_form_is_refused():
    with pytest.raises(TypeError, match="NoneType"):
        toml_text({"a": None})
