from dataclasses import replace

from hep2gan.inference.trust import describe_trust
from hep2gan.reports.page.run_section import trust_sentences
from tests.helpers.made_up_trust import LIMIT, TRUST, WITHOUT

SPACE = "\N{NARROW NO-BREAK SPACE}"


def plain(sentences):
    return [sentence.replace(SPACE, " ") for sentence in sentences]


def test_trust_in_words():
    probabilities, surest, unlike = plain(trust_sentences(TRUST))
    assert "by 10.0 % as trained" in probabilities
    assert "by 2.0 % where each half of the test is scaled" in probabilities
    assert "the temperature 1.70, from 120 test cells of 9 specimens." in probabilities
    assert "20.0 % of all cells are misclassified, and 5.0 % of the surest half." in surest
    assert "0.0400; an order by chance has 0.2000, the best possible 0.0200" in surest
    words = (
        "further than 3.54 from all means, or with an entropy above 0.80; each limit keeps 97.5 %"
    )
    assert words in unlike
    assert "8.0 % of 90 test cells of 7 specimens that had no cell in training." in unlike


def test_what_is_not_known_is_told():
    assert trust_sentences(None) == []
    assert "are not marked: the test part has 9 cells." in trust_sentences(WITHOUT)[2]
    seen = replace(TRUST, unlike=replace(LIMIT, false_alarms_unseen=None))
    assert "none is known to be of a specimen that had no cell" in trust_sentences(seen)[2]
    one = replace(TRUST, calibration_error_scaled=None)
    assert "They are not scaled: the test is of one specimen" in trust_sentences(one)[0]
    worse = replace(TRUST, calibration_error_scaled=0.11, part="validation", temperature=1.0)
    said = plain(trust_sentences(worse))[0]
    assert "by 11.0 % by the temperature of the validation part. As that is not lower" in said
    few = replace(TRUST, cells=12, temperature=1.0)
    assert "12 test cells of 9 specimens are too few for a" in trust_sentences(few)[0]
    assert "are too few for a temperature" in describe_trust([few], 9, 1, calibrated=True)[0]
    assert "gave no temperature that lowers" in describe_trust([worse], 9, 1, calibrated=True)[0]


def test_predictions_say_the_same_in_two_lines():
    scaled, unlike = describe_trust([TRUST], 50, 4, calibrated=True)
    assert "the temperature 1.70 of 120 test cells of 9 specimens" in scaled
    assert scaled.endswith(
        "10.0 % before, 2.0 % after, each half scaled by the other's temperature"
    )
    assert unlike == (
        "4 of 50 cells are unlike the training (unlike_training); so were 8.0 % of 90 test cells"
        " of 7 specimens not in training"
    )
    assert "calibrated=false" in describe_trust([TRUST], 50, 4, calibrated=False)[0]
    assert "were not tested" in describe_trust([None], 50, None, calibrated=True)[0]
    assert describe_trust([None], 0, None, calibrated=True) == []
    few = describe_trust([WITHOUT], 50, None, calibrated=True)[1]
    assert few.endswith("are not marked: the test part has 9 cells")
    several = describe_trust([TRUST, None], 50, 4, calibrated=True)
    assert several[0].endswith("its own temperature, but for 1 of 2 runs, which were not tested")
    assert several[1].endswith("the runs' limits; how often that errs was not tested")
