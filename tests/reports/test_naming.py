import dataclasses

from hep2gan.reports.naming import (
    Link,
    RunGroup,
    numbers_by_method,
    run_groups,
    run_links,
    short_name,
    summarize_runs,
)


def test_many_runs_are_named_in_a_word(grid):
    assert run_links(grid, range(1, 7)) == [Link("all runs", 0)]
    assert run_links(grid, [4, 1]) == [Link("a", 1)]
    assert run_links(grid, [1, 4, 5]) == [Link("a", 1), Link("b/seed1", 5)]
    assert run_links(grid, [4, 5, 6]) == [Link("all of seed 1", 0)]
    assert run_links(grid[:1], [1]) == [Link("a/seed0", 1)]
    assert summarize_runs(grid) == "Study default: 6 runs, 3 methods, 2 seeds"


def test_the_study_is_named_where_there_are_several(grid):
    other = dataclasses.replace(grid[0], study="beta")
    assert short_name(grid[0], grid) == "a/seed0"
    assert short_name(other, [*grid, other]) == "beta/a/seed0"
    assert numbers_by_method([grid[0], other, grid[3]]) == {"default/a": [1, 3], "beta/a": [2]}
    assert summarize_runs([grid[0], other]) == "2 studies: 2 runs, 2 methods, 1 seed"


def test_long_names_keep_both_ends(grid):
    sweep = dataclasses.replace(grid[0], method="proposed," + "loss.x=1," * 20 + "loss.beta=5")
    name = run_links([sweep, grid[1]], [1])[0].name
    assert len(name) == 61
    assert name.startswith("proposed,loss")
    assert name.endswith("loss.beta=5/seed0")


def test_the_folds_of_a_sweep_are_one_method(grid):
    folds = [dataclasses.replace(grid[0], method=f"a,split.fold={fold}") for fold in range(3)]
    assert numbers_by_method([*folds, grid[1]]) == {"a": [1, 2, 3], "b": [4]}
    assert summarize_runs([*folds, grid[1]]) == "Study default: 4 runs, 2 methods, 1 seed"
    assert run_links([*folds, grid[1]], [1, 2, 3]) == [Link("a", 1)]
    assert short_name(folds[2], folds) == "a,split.fold=2/seed0"


def test_every_run_of_a_row_has_a_link_by_what_it_differs_in(grid):
    links_of = {n: Link(r.seed, n, short_name(r, grid)) for n, r in enumerate(grid, start=1)}
    assert run_groups(grid, [4, 1]) == [RunGroup("seeds", [links_of[1], links_of[4]])]
    assert run_groups(grid, [1, 5, 4]) == [
        RunGroup("a: seeds", [links_of[1], links_of[4]]),
        RunGroup("b: seed", [links_of[5]]),
    ]
    split = {"split": {"folds": 2}}
    folds = [
        dataclasses.replace(one, method="a", config={"split": split["split"] | {"fold": fold}})
        for one in (grid[0], grid[3])
        for fold in (0, 1)
    ]
    assert run_groups(folds, [1, 2, 4]) == [
        RunGroup("seed 0, folds", [Link("0", 1, "a/seed0"), Link("1", 2, "a/seed0")]),
        RunGroup("seed 1, fold", [Link("1", 4, "a/seed1")]),
    ]
