"""The grids of a run."""

from PIL import Image

from stylegen import data
from stylegen.config import Config, DataConfig, DiscriminatorConfig, GeneratorConfig, RunConfig, ScheduleConfig
from stylegen.networks.build import build_networks
from stylegen.runs import directory
from stylegen.runs.grids import SampleGrids
from stylegen.runtime import sharding
from stylegen.sampling import programs
from stylegen.training.schedule import Stage
from stylegen.training.state import init_state


def compiled() -> tuple[int, int]:
    return programs.map_latents.jitted._cache_size(), programs.draw.jitted._cache_size()


def test_grids_are_compiled_before_they_are_needed(tmp_path):
    config = Config(
        resolution=8,
        data=DataConfig(batch=4, num_images=10, workers=1),
        generator=GeneratorConfig(z_dim=7, w_dim=5, mapping_layers=2, channel_base=32, channel_max=4),
        discriminator=DiscriminatorConfig(channel_base=32, channel_max=4),
        schedule=ScheduleConfig(start_resolution=4, total_kimg=1),
        run=RunConfig(dir=str(tmp_path), grid=(3, 2)),
    )
    mesh = sharding.make_mesh(config)
    with directory.RunLog(tmp_path, 0) as log:
        grids = SampleGrids(config, build_networks(config), mesh, data.open_source(config), log)
        before = compiled()
        grids.rehearse(8)
        rehearsed = compiled()
        assert rehearsed != before
        state = sharding.put_replicated(mesh, init_state(config))
        for alpha in (0.25, 1.0):
            grids.save_fakes(state, Stage(1, 8, alpha, 4, 0.001), 4)
            grids.styles(state, Stage(1, 8, alpha, 4, 0.001))
    assert compiled() == rehearsed
    with Image.open(tmp_path / "fakes.png") as grid:
        assert grid.size == (24, 16)
