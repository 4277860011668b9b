import pytest

from reports.data_page import label_name
from schema.categories import Category

TOOL, CUP = Category("Tool", "01", ("head", "handle")), Category("Cup", "02", ("body",))


@pytest.mark.parametrize(
    ("label", "one", "two"),
    [
        (0, "0: head", "0: Tool head, Cup body"),
        (1, "1: handle", "1: Tool handle"),
        (-1, "unannotated", "unannotated"),
        (2, "2: not a part", "2: not a part"),
        (-2, "-2: not a part", "-2: not a part"),
    ],
)
def test_a_label_is_named_by_its_part(label, one, two):
    assert label_name(label, (TOOL,)) == one
    assert label_name(label, (TOOL, CUP)) == two
