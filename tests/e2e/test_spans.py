"""A new span trains on its window, and on from the last blessed model; the same one does not."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import TINY, Runs

CONFIG = TINY.replace("demo_shapes: 24", "demo_shapes: 0\nspans: {window: 2}")
ON_FROM_BLESSED = CONFIG.replace("training: {", "training: {warm_start: last_blessed, ")


def artifacts(runs: Runs, component: str, kind: str, key: str) -> list:
    """What a component's executions took in (INPUT) or gave out (OUTPUT) by a key, newest last."""
    from ml_metadata.proto import metadata_store_pb2
    from tfx.orchestration import metadata

    connection = metadata.sqlite_metadata_connection_config(
        str(runs.out / "pipeline" / "metadata.sqlite")
    )
    wanted = metadata_store_pb2.Event.Type.Value(kind)
    found = []
    with metadata.Metadata(connection) as handle:
        store = handle.store
        (context,) = (
            c for c in store.get_contexts_by_type("node") if c.name.endswith(f".{component}")
        )
        executions = sorted(store.get_executions_by_context(context.id), key=lambda e: e.id)
        for execution in executions:
            for event in store.get_events_by_execution_ids([execution.id]):
                if event.type == wanted and event.path.steps[0].key == key:
                    found += store.get_artifacts_by_id([event.artifact_id])
    return found


@pytest.mark.slow
def test_a_new_span_trains_on_its_window_and_the_same_one_is_all_cache(tmp_path):
    from preprocessing.datasets.demo import make_demo_shapes

    runs = Runs(tmp_path)
    deliveries = {
        span: str(make_demo_shapes(tmp_path / f"delivery_{span}", 10, ["Airplane"], seed=span))
        for span in (1, 2, 3)
    }
    from pipeline.config import parse_config
    from preprocessing.conversion.spans import add_span

    # The first delivery only waits for the second.
    add_span(deliveries[1], runs.out / "spans", 1, 2, parse_config(CONFIG, "x").data)

    status, screen = runs.run(CONFIG, data=deliveries[2], span=2)
    assert status == 0, screen
    assert "span 1: " in screen and "span 2: " in screen
    first = runs.executions()
    assert first["Trainer", "COMPLETE"] == first["ImportExampleGen", "COMPLETE"] == 1

    status, screen = runs.run(CONFIG, span=2)
    assert status == 0, screen
    new = runs.executions() - first
    assert {state for (_, state), count in new.items() if count} == {"CACHED", "COMPLETE"}
    assert not [name for name, state in new if state == "COMPLETE" and "Resolver" not in name]

    status, screen = runs.run(ON_FROM_BLESSED, data=deliveries[3], span=3)
    assert status == 0, screen
    assert "span 1: " not in screen
    third = runs.executions()
    for name in ("ImportExampleGen", "CloudValidator", "Transform", "Trainer", "Evaluator"):
        assert third[name, "COMPLETE"] == 2, name
    assert "compared with the blessed model before it" in screen
    assert len(runs.versions()) == 2

    # ML Metadata knows which span a model is from, and which model it was trained on from.
    examples = artifacts(runs, "ImportExampleGen", "OUTPUT", "examples")
    assert [found.custom_properties["span"].int_value for found in examples] == [2, 2, 3]
    first_model, _, last_model = artifacts(runs, "Trainer", "OUTPUT", "model")
    (start,) = artifacts(runs, "Trainer", "INPUT", "base_model")
    assert start.id == first_model.id != last_model.id
