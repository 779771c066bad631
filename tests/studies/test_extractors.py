"""Which feature networks tell real images from changed ones: the study's sets and rows."""

import numpy as np
import pytest

from studies import extractors
from stylegen.data.toy import bedrooms
from stylegen.metrics.extractors import open_extractor


def test_sets_are_changes_of_the_images_and_drawn_rooms():
    images = bedrooms.render(range(3), 32)
    sets = extractors.sets(images, 3)
    assert list(sets) == [*extractors.CHANGES, "drawn rooms"]
    assert all(x.shape == images.shape and x.dtype == np.uint8 for x in sets.values())

    def change(name):
        return np.abs(sets[name].astype(float) - images).mean()

    assert change("untouched") == 0
    for weak, strong in [
        ("blurred, 0.7 pixels", "blurred, 1.5 pixels"),
        ("noised, 8 levels", "noised, 24 levels"),
        ("recolored by a quarter", "recolored"),
        ("half as large", "a quarter as large"),
    ]:
        assert 0 < change(weak) < change(strong)


@pytest.mark.filterwarnings("ignore:kid. subsets have 1,000 images:UserWarning")
def test_a_set_is_measured_by_each_network(narrow_vgg):
    images = bedrooms.render(range(40), 32)
    row = extractors.measure(images[:20], images[20:], {"random_vgg": open_extractor("random_vgg")})
    assert set(row) == {"random_vgg fid", "random_vgg kid", "swd"} and all(np.isfinite(list(row.values())))
