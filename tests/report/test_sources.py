from __future__ import annotations

from maestune.report.sources import sources


def test_every_work_stands_once_with_its_title() -> None:
    listed = sources(
        [
            "Radford et al. 2016, arXiv 1511.06434; pytorch/examples dcgan",
            "Radford et al. 2016, arXiv 1511.06434; range of Lucic et al. 2018, arXiv 1711.10337",
            "Lucic et al. 2018, arXiv:1711.10337",
        ]
    )
    assert len(listed) == 3
    assert listed[0].startswith("Radford et al. 2016, Unsupervised Representation Learning")
    assert listed[0].endswith("arXiv 1511.06434")
    assert "Lucic et al. 2018, Are GANs Created Equal? A Large-Scale Study, arXiv 1711.10337" in listed


def test_two_authors_are_both_named_and_no_tex_is_left() -> None:
    (lim,) = sources(["Lim & Ye 2017, arXiv 1705.02894"])
    assert lim == "Lim & Ye 2017, Geometric GAN, arXiv 1705.02894"
    (burgess,) = sources(["Burgess et al. 2018, arXiv 1804.03599"])
    assert "in β-VAE" in burgess


def test_what_has_no_entry_stands_as_it_is() -> None:
    assert sources(["my own note", "Nobody 1999"]) == ("my own note", "Nobody 1999")
    assert sources(["Lim & Ye 2017, arXiv 1705.02894; Nobody 1999"])[1] == "Nobody 1999"
