from hep2gan.reports.figures import style


def test_the_first_49_looks_differ_and_none_is_yellow():
    looks = [style.series_style(k) for k in range(49)]
    assert len(set(looks)) == 49
    assert len({(one.color, one.linestyle) for one in looks}) == 49
    assert not any(one.color == "#F0E442" for one in looks)
