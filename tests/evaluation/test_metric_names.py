"""What names of metrics mean."""

import pytest

from stylegen.evaluation import EvaluationError, metric_names


@pytest.mark.parametrize(
    ("name", "fakes", "reals"),
    [
        ("fid50k_full", 50_000, None),
        ("fid50k", 50_000, 50_000),
        ("fid1k", 1000, 1000),
        ("fid200", 200, 200),
        ("kid50k_full", 50_000, None),
        ("pr50k3_full", 50_000, 50_000),
        ("pr2k3", 2000, 2000),
        ("pr2k3_full", 2000, 50_000),
        ("dc10k5", 10_000, 10_000),
        ("is50k", 50_000, 50_000),
        ("swd8k", 8192, 8192),
        ("swd1k", 1024, 1024),
        ("fid", 50_000, None),
        ("swd", 8192, 8192),
        ("ppl_wfull", 100_000, 0),
        ("ppl2k_zend", 2000, 0),
    ],
)
def test_counts(name, fakes, reals):
    metric = metric_names.parse(name)
    assert (metric.name, metric.fakes, metric.reals) == (name, fakes, reals)


def test_the_rest():
    assert (
        metric_names.parse("pr50k3_full").k == 3 and metric_names.parse("pr").k == 3 and metric_names.parse("dc").k == 5
    )
    assert (metric_names.parse("ppl_zend").space, metric_names.parse("ppl_zend").sampling) == ("z", "end")
    assert metric_names.parse("pr1k3").values == ("pr1k3_precision", "pr1k3_recall")
    assert metric_names.parse("fid1k").values == ("fid1k",) and metric_names.parse("dc").values == (
        "dc_density",
        "dc_coverage",
    )
    assert metric_names.parse("fid").lower_is_better and not metric_names.parse("is").lower_is_better


def test_everything():
    assert [(m.name, m.fakes, m.reals) for m in metric_names.parse_list("fid, kid, pr", everything=True)] == [
        ("fid", None, None),
        ("kid", None, None),
        ("pr", None, 50_000),
    ]
    assert metric_names.parse("fid1k", everything=True).fakes == 1000


@pytest.mark.parametrize(
    "name",
    ["fid_full", "pr50k", "ppl", "ppl_vfull", "fud50k", "fid50k_ful", "pr0k3", "fid1", "pr1k0", "fid100000k", "fid²"],
)
def test_wrong_names(name):
    with pytest.raises(EvaluationError, match=rf"metric '{name}': "):
        metric_names.parse(name)


def test_wrong_lists():
    with pytest.raises(EvaluationError, match="swd takes no _full; write swd8k"):
        metric_names.parse("swd8k_full")
    with pytest.raises(EvaluationError, match="names none; there are fid50k_full"):
        metric_names.parse_list(" , ")
    with pytest.raises(EvaluationError, match="fid1k is there twice"):
        metric_names.parse_list("fid1k,swd1k,fid1k")
