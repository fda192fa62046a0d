"""Problems have a code of the closed list, and are reported from when they were found.

Covers: api/transparency/audit_state.py
"""

import pytest

from api.transparency.health_problems import HealthProblems


def test_a_problem_is_reported_until_it_is_cleared():
    problems = HealthProblems()
    problems.raise_("log_not_continued", ledger="omc")
    problems.raise_("view_wrong:score_board", ledger="omc", view="score_board", position=7)
    assert [problem.code for problem in problems] == ["log_not_continued", "view_wrong:score_board"]
    problems.clear("log_not_continued", ledger="other")
    problems.clear("log_not_continued", ledger="omc")
    assert [problem.position for problem in problems] == [7]


def test_a_problem_that_is_found_again_keeps_its_time():
    problems = HealthProblems()
    problems.raise_("seal_missing", ledger="omc")
    [first] = problems
    problems.raise_("seal_missing", ledger="omc")
    assert list(problems) == [first]


def test_a_code_that_is_not_in_the_list_is_a_mistake():
    with pytest.raises(ValueError, match="tired"):
        HealthProblems().raise_("tired")
