import re
from pathlib import Path

import pytest
from recipe_spaces import spaces

import maestune
from maestune.errors import SettingsError
from maestune.execution.model import FAMILIES
from maestune.quality import METRICS
from maestune.recipes import bibliography, cite, unknown
from maestune.recipes.bibliography import ARXIV, bibtex, read_bibtex

SOURCE = Path(maestune.__file__).parent
FILES = sorted(f for f in SOURCE.rglob("*") if f.suffix in (".py", ".toml"))
ENTRIES = list(bibliography().values())
# Name et al. 2020, arXiv 2001.00001; also with a venue before the year or a remark after it.
NAMED = re.compile(
    r"((?:[\w’'-]+ )*[\w’'-]+?)(?: et al\.| & [\w’'-]+| and [\w’'-]+)?(?:, \w+)? (\d{4})(?: \([^)]*\)|, [\w-]+)?,"
    r" arXiv[:\s]\s*(\d{4}\.\d{4,5})"
)


def text_of(file):
    # Docstrings and comments are wrapped.
    return re.sub(r"\s*\n\s*(?:# )?", " ", file.read_text(encoding="utf-8"))


def test_every_arxiv_number_in_the_source_has_an_entry():
    known = {entry.arxiv for entry in ENTRIES}
    cited = {number: file.name for file in FILES for number in ARXIV.findall(text_of(file))}
    assert len(cited) > 50
    assert {number: name for number, name in cited.items() if number not in known} == {}


def test_numbers_are_cited_under_the_name_and_year_of_their_work():
    by_number = {entry.arxiv: entry for entry in ENTRIES if entry.arxiv}
    wrong = {}
    found = 0
    for file in FILES:
        for names, year, number in NAMED.findall(text_of(file)):
            entry = by_number.get(number)
            if entry is not None:
                found += 1
                # Years of the preprint and of the proceedings are both in use.
                right_year = abs(int(entry.fields["year"]) - int(year)) <= 1 or year == f"20{number[:2]}"
                if not names.endswith(entry.first_author) or not right_year:
                    wrong[f"{file.name}: {names} {year}, {number}"] = f"{entry.first_author} {entry.fields['year']}"
    assert found > 80
    assert wrong == {}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_citation_of_a_space_has_an_entry(family):
    texts = {p.prior.citation for _, space in spaces(family) for p in space if p.prior and p.prior.citation}
    assert unknown(sorted(texts)) == ()


def test_every_citation_of_a_metric_has_an_entry():
    assert unknown(metric.citation for metric in METRICS.values()) == ()


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.key)
def test_entries_are_complete(entry):
    fields = entry.fields
    assert {"title", "author", "year"} <= set(fields)
    assert re.fullmatch(r"[a-z0-9]+", entry.key)
    assert (
        fields.get("eprint")
        or fields.get("url")
        or fields.get("doi")
        or fields.get("journal")
        or fields.get("booktitle")
        or fields.get("institution")
    )
    for value in fields.values():
        assert value.count("{") == value.count("}")
    venue = {
        "inproceedings": "booktitle",
        "incollection": "booktitle",
        "article": "journal",
        "techreport": "institution",
    }
    assert entry.kind == "misc" or venue[entry.kind] in fields
    if entry.arxiv:
        appeared = 2000 + int(entry.arxiv[:2])
        assert appeared - 1 <= int(fields["year"]) <= appeared + 3
        assert fields["url"] == f"https://arxiv.org/abs/{entry.arxiv}"
    for author in fields["author"].split(" and "):
        assert "," in author or author in ("others",) or author.startswith("{"), author


def test_keys_begin_with_the_first_author_and_hold_the_year():
    for entry in ENTRIES:
        if entry.kind != "misc":
            letters = re.sub(r"\W|_", "", entry.first_author.casefold().split()[-1])
            plain = letters.translate(str.maketrans("äöüıńøłé", "aouinole"))
            start = entry.key[:3]
            assert plain.startswith(start[:2]) or start.startswith(plain[:2]), entry.key
            # A preprint's year is in use where the proceedings came later.
            year = int(re.search(r"\d{4}", entry.key)[0])
            assert 0 <= abs(int(entry.fields["year"]) - year) <= 1, entry.key


def test_numbers_and_short_names_are_unique():
    for name in ("arxiv", "short"):
        values = [getattr(entry, name) for entry in ENTRIES if getattr(entry, name)]
        assert len(values) == len(set(values))


def test_works_are_found_in_citations_as_they_are_written():
    keys = [
        e.key
        for e in cite(
            [
                "range of Lucic et al. 2018, arXiv 1711.10337; PyTorch-GAN",
                "Karpathy 2022, nanoGPT",
                "Hägele et al. 2024",
            ]
        )
    ]
    assert keys == ["lucic2018are", "lindernoren2018pytorchgan", "karpathy2022nanogpt", "haegele2024scaling"]
    assert [e.key for e in cite(["arXiv:1706.08500", "Heusel et al. 2017, arXiv 1706.08500"])] == ["heusel2017gans"]
    assert [e.key for e in cite(["Prechelt 1998, doi 10.1007/3-540-49430-8_3"])] == ["prechelt1998early"]
    assert cite(["Karras et al. 2020"]) == ()  # two of them
    assert unknown(["Nobody 1999; Heusel et al. 2017, arXiv 1706.08500", "arXiv 9999.99999"]) == (
        "Nobody 1999",
        "arXiv 9999.99999",
    )


def test_authors_are_told_as_they_are_printed():
    assert bibliography()["kynkaanniemi2019improved"].first_author == "Kynkäänniemi"
    assert bibliography()["sonderby2016ladder"].first_author == "Sønderby"
    assert bibliography()["yazici2019unusual"].first_author == "Yazıcı"


def test_bibtex_is_written_as_it_was_read():
    for entry in ENTRIES:
        (again,) = read_bibtex(bibtex(entry))
        assert (again.key, again.kind) == (entry.key, entry.kind)
        assert again.fields == {name: value for name, value in entry.fields.items() if name != "shorthand"}


def test_bibtex_of_others_is_understood():
    text = """ A comment. @Article{ a1 , title = "In {"}quotes{"}", year = 1999, note={nested {braces} here} }
    @misc{b2, title = {Last, no comma}}"""
    first, second = read_bibtex(text)
    assert (first.key, first.kind) == ("a1", "article")
    assert first.fields == {"title": 'In {"}quotes{"}', "year": "1999", "note": "nested {braces} here"}
    assert second.fields == {"title": "Last, no comma"}


@pytest.mark.parametrize(
    "text", ["@misc{a, title = {open", "@misc{a, title = {x} year = {y", "@misc{a, title = {x} oops"]
)
def test_broken_bibtex_is_named(text):
    with pytest.raises(SettingsError, match="BibTeX entry a"):
        read_bibtex(text)
