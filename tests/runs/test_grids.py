"""The grids of a run."""

from PIL import Image

from stylegen import data
from stylegen.runs import directory
from stylegen.runs.grids import SampleGrids
from stylegen.runtime import sharding
from stylegen.training.schedule import Stage
from stylegen.training.state import init_state
from tests.support.compilations import compilations
from tests.support.configs import tiny_config


def test_grids_are_compiled_before_they_are_needed(tmp_path):
    config = tiny_config(
        generator={"z_dim": 7, "w_dim": 5},  # of no other test, or its programs would be there already
        schedule={"total_kimg": 1},
        run={"dir": str(tmp_path), "grid": (3, 2)},
    )
    mesh = sharding.make_mesh(config)
    with directory.RunLog(tmp_path, 0) as log:
        grids = SampleGrids(config, mesh, data.open_source(config), log)
        with compilations() as rehearsed:
            grids.rehearse(8)
        assert rehearsed
        state = sharding.put_replicated(mesh, init_state(config))
        with compilations() as later:
            for alpha in (0.25, 1.0):
                grids.save_fakes(state, Stage(1, 8, alpha, 4, 0.001), 4)
                grids.styles(state, Stage(1, 8, alpha, 4, 0.001))
    assert later == []
    with Image.open(tmp_path / "fakes.png") as grid:
        assert grid.size == (24, 16)
