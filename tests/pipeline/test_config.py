"""The config: every preset loads, every mistake is said in a sentence, nothing is lost in YAML."""

import itertools

import pytest

from pipeline.config import (
    PipelineConfig,
    describe_fields,
    load_config,
    parse_config,
    preset_names,
    to_yaml,
)
from schema.categories import SHAPENET_CATEGORIES
from schema.errors import UserError
from schema.settings import Settings


def fields(section=PipelineConfig, prefix=""):
    """Every key of the config with its field, sections included."""
    for name, field in section.model_fields.items():
        yield f"{prefix}{name}", field
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            yield from fields(field.annotation, f"{prefix}{name}.")


def test_the_presets_are_there():
    named = {"airplane", "all", "demo", "few_shapes", "keras_example", "light", "paper"}
    named |= {"cluster_example"}  # where the pipeline runs, for a start
    assert named == set(preset_names())


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_loads_and_comes_back_from_yaml(name):
    config = load_config(name)
    assert config != PipelineConfig()
    assert parse_config(to_yaml(config), "again") == config


def test_the_published_examples_network_has_7370062_parameters():
    config = load_config("keras_example")
    assert config.network.build(5).count_params() == 7_370_062
    assert config.transform.points_per_cloud == 1024
    assert config.training.epochs == 60


def test_the_papers_network_by_hand():
    config = load_config("paper")
    parts = sum(len(category.parts) for category in SHAPENET_CATEGORIES)
    assert (config.data.category, config.transform.points_per_cloud) == ("all", 2048)

    def layers(*widths):
        """Kernels, and four numbers of batch norm for each feature."""
        return sum(i * o + 4 * o for i, o in itertools.pairwise(widths))

    def transform(size):
        return layers(size, 64, 128, 1024, 512, 256) + 257 * size**2

    joined = 64 + 128 + 128 + 128 + 512 + 2048 + 16
    expected = transform(3) + transform(128) + layers(3, 64, 128, 128) + layers(128, 512, 2048)
    expected += layers(joined, 256, 256, 128) + 129 * 50
    network = config.network.build(parts, len(SHAPENET_CATEGORIES))
    assert (parts, network.count_params()) == (50, expected)


def test_the_light_network_is_a_fifth_of_the_airplanes_without_feature_transform():
    light, airplane = (load_config(name).network for name in ("light", "airplane"))
    assert not light.feature_transform
    assert light.build(4).count_params() < airplane.build(4).count_params() / 5


def test_an_empty_file_is_the_default(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("# nothing\n")
    assert load_config(str(path)) == PipelineConfig()


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("training: {epochs: 7, learning_rate: 1e-4}\n")
    config = load_config(str(path))
    assert (config.training.epochs, config.training.learning_rate) == (7, 1e-4)
    default = PipelineConfig()
    changed = default.training.model_copy(update={"epochs": 7, "learning_rate": 1e-4})
    assert config == default.model_copy(update={"training": changed})


BOUND = "{part_iou_of: {engine: {minimun: 0.5}}}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trainig: {}", "unknown key trainig; did you mean training?"),
        ("training: {epoch: 3}", "unknown key training.epoch; did you mean epochs?"),
        ("data: {split: {tran: 0.5}}", "unknown key data.split.tran; did you mean train?"),
        (
            "beam: {zzz: 1}",
            "unknown key beam.zzz; known here: args, components, dataflow, flink, runner, spark",
        ),
        (
            f"evaluation: {BOUND}",
            "unknown key evaluation.part_iou_of.engine.minimun; did you mean minimum?",
        ),
        (
            "evaluation: {slices: {size: {}}}",
            "'size' is not a slice; slices are category and cloud_",
        ),
        (
            "evaluation: {slices: {cloud_size=1-1000: {}}}",
            "'1-1000' is not a size bucket; they are 1-511, 512-1023, 1024-2047",
        ),
        (
            "evaluation: {instance_miou: {difference: same}}",
            "evaluation.instance_miou.difference: found 'same'",
        ),
        ("training: {epochs: many}", "training.epochs: found 'many'; input should be a valid int"),
        ("training: {epochs: 0}", "training.epochs: found 0; input should be greater than"),
        ("training: {learning_rate: .nan}", "training.learning_rate: found nan"),
        ("training: 5", "training: found 5"),
        ("training: {precision: half}", "precision: found 'half'; input should be 'auto', "),
        ("data: {split: {train: 0.5}}", "data.split: train + val + test add up to 0.8"),
        ("network: {head_widths: []}", "network.head_widths: found []"),
        ("name: Point-Net", "name: found 'Point-Net'"),
        (
            "{transform: {points_per_cloud: 100}, training: {points_per_draw: 101}}",
            "training.points_per_draw is 101, but Transform keeps only 100 points",
        ),
        ("tuning: {trials: 1}", "tuning: trials is 1, and the first trial is the config's own"),
        ("tuning: {trials: -2}", "tuning.trials: found -2; input should be greater than"),
        ("tuning: {trial: 5}", "unknown key tuning.trial; did you mean trials?"),
        ("training: {epochs: 1", "config mine.yaml is not YAML: line 1, column 21: expected ',' "),
        ("name: a\ndata: ]", "config mine.yaml is not YAML: line 2, column 7: "),
        ("name: a\x07", "is not YAML"),
        (
            "vertex: gs://foo",
            "vertex: found 'gs://foo'; expected a section with keys (custom_job, ",
        ),
        (
            "vertex: {root: a/b}",
            "found 'a/b', which is no folder in a bucket; did you mean gs://a/b",
        ),
        ("kubeflow: {data: s3://a/b}", "kubeflow.data: found 's3://a/b', which is no folder in a"),
        ("vertex: {root: /data}", "is no folder in a bucket; give gs://bucket/folder"),
        ("vertex: {region: europe-wets4}", "vertex.region: found 'europe-wets4'; give a region of"),
        ("vertex: {region: us-central1-a}", "vertex.region: found 'us-central1-a'"),
        ("vertex: {project: My Project}", "vertex.project: found 'My Project'; give the project's"),
        ("vertex: {service_account: parts}", "vertex.service_account: found 'parts'; give the acc"),
        (
            "vertex: {training: {machine: n1-standrad-16}}",
            "machine: found 'n1-standrad-16'; give a",
        ),
        ("vertex: {endpoint: {machine: n1}}", "vertex.endpoint.machine: found 'n1'; give a type"),
        ("- training", "holds a list; expected keys and values"),
        ("just words", "holds a str; expected keys and values"),
    ],
)
def test_a_mistake_is_said_in_a_sentence(text, message):
    with pytest.raises(UserError) as raised:
        parse_config(text, "mine.yaml")
    said = str(raised.value)
    assert said.startswith("config mine.yaml")
    assert message in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("project", ["my-project-1", "example.com:my-project"]),
        ("region", ["europe-west4", "us-central1", "northamerica-northeast2", "me-west1"]),
        (
            "service_account",
            ["a@b.iam.gserviceaccount.com", "12-compute@developer.gserviceaccount.com"],
        ),
        ("root", ["gs://bucket", "gs://bucket/a/b"]),
    ],
)
def test_what_google_writes_so_is_taken(key, values):
    for value in values:
        assert getattr(parse_config(f"vertex: {{{key}: '{value}'}}", "x").vertex, key) == value


@pytest.mark.parametrize(
    "machine",
    [
        *("e2-standard-4", "n1-highmem-8", "c2d-highcpu-112", "m1-ultramem-40", "m1-megamem-96"),
        *("g2-standard-96", "a2-highgpu-1g", "a2-megagpu-16g", "a3-ultragpu-8g", "a3-edgegpu-8g"),
        *("c3-standard-4-lssd", "m2-hypermem-416"),
    ],
)
def test_a_machine_that_there_is_is_taken(machine):
    parse_config(f"vertex: {{training: {{machine: {machine}}}}}", "x")


def test_two_mistakes_are_both_said():
    with pytest.raises(UserError, match=r"training\.epochs: .*; unknown key nam;"):
        parse_config("{training: {epochs: 0}, nam: x}", "mine.yaml")


def test_what_is_neither_preset_nor_file_is_said_with_the_presets(tmp_path):
    for name in ("airplain", str(tmp_path / "missing.yaml"), str(tmp_path)):
        with pytest.raises(UserError, match="neither a preset") as raised:
            load_config(name)
        assert name in str(raised.value) and "keras_example" in str(raised.value)


def test_a_file_that_is_no_text_is_said(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(UserError, match="cannot be read"):
        load_config(str(path))


def test_values_do_not_change_after_loading():
    with pytest.raises(ValueError, match="frozen"):
        PipelineConfig().name = "other"


def test_every_field_has_a_description_and_a_row():
    table = describe_fields()
    for name, field in fields():
        assert field.description, f"{name} has no description"
        section = isinstance(field.annotation, type) and issubclass(field.annotation, Settings)
        assert section or f"| `{name}` | `" in table


def test_an_unknown_precision_is_said():
    with pytest.raises(UserError) as refused:
        parse_config("training: {precision: int8}", "mine.yaml")
    assert "training.precision: found 'int8'" in str(refused.value)
    assert "'float32', 'bfloat16' or 'float16'" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("training: {batch_size: 1}", ("training.batch_size", "2")),
        ("{training: {warm_start: last_blessed}, tuning: {trials: 3}}", ("trials", "warm_start")),
        ("training: {final_learning_rate: 0.01}", ("final_learning_rate", "0.001")),
        ("training: {seed: -1}", ("training.seed", "-1")),
        ("network: {transform_dense_widths: [-5]}", ("network.transform_dense_widths", "-5")),
    ],
)
def test_settings_that_would_fail_after_hours_are_refused(text, facts):
    with pytest.raises(UserError) as refused:
        parse_config(text, "mine.yaml")
    assert all(fact in refused.value.message for fact in facts)
