from hep2gan.reports.figures import style


def test_the_first_49_looks_differ_and_none_is_yellow():
    looks = [style.series_style(k) for k in range(49)]
    assert len(set(looks)) == 49
    assert len({(one.color, one.linestyle) for one in looks}) == 49
    assert not any(one.color == "#F0E442" for one in looks)


def test_names_of_other_classes_than_the_paper_s_are_cut_with_an_ellipsis():
    names = style.short_names(["Homogeneous", "homogen", "fine speckled", "Kernmembran ä"])
    assert names == ["Hom", "homogen", "fine speckl…", "Kernmembran…"]


def test_ids_are_cut_where_they_are_alike():
    ids = [f"img/Zelle {n:04d}" for n in (1, 2)]
    cut = [style.fit_text(one, 0.4, style.SMALL, keep_end=True) for one in ids]
    assert [text[0] for text in cut] == ["…", "…"]
    assert [text[-3:] for text in cut] == ["001", "002"]
    assert style.fit_text(ids[0], 9, style.SMALL, keep_end=True) == ids[0]
