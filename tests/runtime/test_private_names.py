"""Names that this package takes from JAX although they are private: a version without one fails here with its name."""

import importlib

import jax
import pytest

CLIENT = "jax._src.distributed.State.client"
# Module and attributes of it.
NAMES = [
    "jax._src.clusters:ClusterEnv._cluster_types",
    "jax._src.clusters:ClusterEnv.is_env_present",
    "jax._src.clusters:ClusterEnv.get_coordinator_address",
    "jax._src.clusters:ClusterEnv.get_process_count",
    "jax._src.clusters:ClusterEnv.get_process_id",
    "jax._src.clusters:ClusterEnv.get_local_process_id",
    "jax._src.distributed:global_state.client",
    "jax._src.lib:_jax.DistributedRuntimeClient.key_value_set",
    "jax._src.lib:_jax.DistributedRuntimeClient.key_value_dir_get",
    "jax._src.lib:_jax.DistributedRuntimeClient.blocking_key_value_get",
    "jax._src.lib:_jax.DistributedRuntimeClient.wait_at_barrier",
]
# Clusters that are recognized by the names that JAX gives them.
CLUSTERS = ("slurm", "ompi", "gcetpu", "gketpu")


@pytest.mark.parametrize("name", NAMES)
def test_jax_has_the_private_name(name):
    module, _, path = name.partition(":")
    value = importlib.import_module(module)
    for part in path.split("."):
        assert hasattr(value, part), f"this version of JAX ({jax.__version__}) has no {module}.{path}"
        value = getattr(value, part)


@pytest.mark.parametrize("name", CLUSTERS)
def test_jax_knows_the_cluster(name):
    from jax._src.clusters import ClusterEnv

    known = [cluster.name for cluster in ClusterEnv._cluster_types]
    assert name in known, f"this version of JAX ({jax.__version__}) does not know the cluster {name}, but {known}"


def test_the_names_are_all_that_are_taken():
    """Every import of ``jax._src`` in the package is of a module named above."""
    import re

    from tests.test_imports import MODULES

    listed = {name.partition(":")[0] for name in NAMES}
    for path in MODULES.values():
        for found in re.findall(r"from (jax\._src[\w.]*) import (\w+)", path.read_text()):
            module = found[0] if found[0] in listed else ".".join(found)
            assert module in listed, f"{path}: {'.'.join(found)} is private, and not in this test"
