"""What an experiment may say: every shipped one says it, and what cannot be said is refused by name before anything is loaded."""

import re

import pytest
import yaml

from llmrec.assets import folder_of
from llmrec.config import Settings, find_config, load_settings, recipe_of
from llmrec.tasks import OBJECTIVES, TASKS
from train.setup import settings_yaml

GIVEN = ["data.corpus=corpora/mine", "output=runs/mine"]
SHIPPED = sorted(path.stem for path in (folder_of("train") / "configs").glob("*.yaml"))


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


# --- the shipped ones --------------------------------------------------------------------------------------------------------------


def test_the_promised_configs_are_shipped():
    assert {"demo", "tiny", "own-data"} <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_config_loads_and_opens_with_how_it_is_run(name):
    settings = load_settings(name, GIVEN)
    assert settings.output.name == "mine" and settings.tasks is None
    lines = find_config(name).read_text(encoding="utf-8").split("\n")
    head = "\n".join(lines[: next(n for n, line in enumerate(lines) if not line.startswith("#"))])
    for command in re.findall(r"accelerate launch -m (\S+) (.*)", head):
        assert command[0] in ("train.pretrain", "train.finetune")
        flag, stem, *overrides = command[1].split()
        assert (flag, stem) == ("--config", name)
        load_settings(name, overrides)
    assert "accelerate launch -m train." in head and "Device: " in head and "Score to reach" in head


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_config_names_tasks_and_metrics_there_are(name):
    settings = load_settings(name, GIVEN)
    for phase in (settings.pretrain, settings.finetune):
        assert set(phase.tasks) <= set(OBJECTIVES)
        assert {name.partition("/")[0] for name in phase.validation.metric} <= TASKS.keys()


def test_the_smoke_run_is_bounded_by_steps():
    tiny = load_settings("tiny", GIVEN)
    assert tiny.pretrain.max_steps <= 100 and tiny.finetune.max_steps <= 100


# --- overrides ---------------------------------------------------------------------------------------------------------------------


def test_overrides_reach_every_depth_and_are_yaml(config):
    settings = load_settings(config("seed: 1\nfinetune: {epochs: 2, validation: {limit: 7}}\n"), [
        *GIVEN, "seed=5", "model.lora.rank=4", "model.lora.targets=[q_proj, v_proj]", "finetune.validation.patience=1", "finetune.learning_rate=2e-3", "finetune.max_steps=null",
        "pretrain.tasks={next_item: 0.5, item_card: 0.5}", "content.rows=false", "model.base=org/model", "index=semantic",
    ])
    assert (settings.seed, settings.model.lora.rank, settings.model.lora.targets, settings.content.rows) == (5, 4, ["q_proj", "v_proj"], False)
    assert (settings.finetune.epochs, settings.finetune.learning_rate, settings.finetune.max_steps) == (2.0, 0.002, None)
    assert (settings.finetune.validation.limit, settings.finetune.validation.patience) == (7, 1)  # the sister of an overridden key stays
    assert settings.pretrain.tasks == {"next_item": 0.5, "item_card": 0.5} and settings.index == "semantic" and settings.model.base == "org/model"


def test_a_value_may_hold_an_equals_sign_and_nothing_at_all():
    assert str(load_settings(None, [*GIVEN, "data.corpus=a=b"]).data.corpus) == "a=b"
    assert load_settings(None, [*GIVEN, "finetune.max_steps="]).finetune.max_steps is None


def test_the_short_form_of_the_tasks_is_those_of_finetune(config):
    settings = load_settings("tiny", [*GIVEN, "tasks={rating: 1}"])
    assert settings.finetune.tasks == {"rating": 1.0} and settings.tasks is None
    assert settings.pretrain.tasks == load_settings("tiny", GIVEN).pretrain.tasks
    path = config("tasks: {click: 2.0}\nfinetune: {tasks: {rating: 1.0}, epochs: 3}\n")
    settings = load_settings(path, GIVEN)
    assert settings.finetune.tasks == {"click": 2.0} and settings.finetune.epochs == 3


def test_settings_are_frozen():
    settings = load_settings(None, GIVEN)
    with pytest.raises(ValueError, match="frozen"):
        settings.seed = 3


# --- refusals ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("finetune.epoch=3", r"unknown key finetune\.epoch; did you mean epochs\? Known here: tasks, tokens, balance"),
        ("model.lora.rnk=8", r"unknown key model\.lora\.rnk; did you mean rank\? Known here: rank, alpha, dropout, targets"),
        ("outputs=x", r"unknown key outputs; did you mean output\?"),
        ("zzz=1", r"unknown key zzz\. Known here: data, output"),
        ("seed=-1", "seed is -1: .*greater than or equal to 0"),
        ("seed=4294967296", "seed is 4294967296"),
        ("seed=three", 'seed is "three": .*integer'),
        ("processes=0", "processes is 0"),
        ("index=atom", "index is \"atom\": .*'atomic', 'semantic' or 'title'"),
        ("precision=fp8", 'precision is "fp8"'),
        ("tasks={rating: -1}", "tasks.rating is -1"),
        ("tasks={rating: .nan}", "tasks.rating is NaN: .*finite"),
        ("pretrain.learning_rate=.inf", "pretrain.learning_rate is Infinity: .*finite"),
        ("pretrain.learning_rate=0", "pretrain.learning_rate is 0"),
        ("model.lora.dropout=1", "model.lora.dropout is 1"),
        ("finetune.validation.patience=0", "finetune.validation.patience is 0"),
        ("data.languages=en", 'data.languages is "en": .*list'),
        ("output=", "output is null"),
        ("seed", "got 'seed'; expected key=value"),
        ("=3", "got '=3'; expected key=value"),
        ("tasks={a: ", "the value of 'tasks={a: ' is not YAML"),
        ("seed.of.mine=3", "seed.of.mine: seed is a value, not a section"),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(override, sentence):
    with pytest.raises(ValueError, match=sentence):
        load_settings(None, [*GIVEN, "seed=1", override])


def test_everything_that_is_missing_is_named():
    with pytest.raises(ValueError, match=r"data\.corpus is not set; give it as data\.corpus=VALUE; output is not set; give it as output=VALUE"):
        load_settings("tiny", [])


@pytest.mark.parametrize(("text", "sentence"), [("a: [", "mine.yaml is not YAML"), ("- seed", "mine.yaml holds a list; expected settings"), ("seed", "holds a str"), ("!!python/object/apply:os.getcwd []", "not YAML")])
def test_a_file_that_is_no_config_is_refused_by_path(config, text, sentence):
    with pytest.raises(ValueError, match=sentence):
        load_settings(config(text), GIVEN)


def test_an_empty_file_is_the_defaults(config):
    assert load_settings(config("# nothing yet\n"), GIVEN) == load_settings(None, GIVEN) == Settings(data={"corpus": "corpora/mine"}, output="runs/mine")


def test_a_config_that_is_not_there_is_named_with_the_shipped_ones():
    with pytest.raises(FileNotFoundError, match="no config 'tini'; shipped: .*demo.*tiny"):
        load_settings("tini", GIVEN)
    with pytest.raises(FileNotFoundError, match="no config file gone.yaml"):
        load_settings("gone.yaml", GIVEN)


# --- saved with the model ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_resolved_settings_read_back_the_same(config, name):
    settings = load_settings(name, [*GIVEN, "tasks={next_item: 0.3, click: 0.7}", "data.corpus=körpora/我的", "model.lora.targets=[q_proj]", "finetune.max_steps=null"])
    path = config(settings_yaml(settings))
    assert load_settings(path, []) == settings
    assert yaml.safe_load(open(path, encoding="utf-8"))["finetune"]["tasks"] == {"next_item": 0.3, "click": 0.7}


def test_a_recipe_is_the_settings_without_seed_and_places(tmp_path):
    def trained(card=None, **more):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        (folder / "train_config.yaml").write_text(settings_yaml(load_settings("tiny", ["data.corpus=c", f"output={folder}", *(f"{key}={value}" for key, value in more.items())])), encoding="utf-8")
        if card is not None:
            (folder / "recommender.json").write_text(card)
        return recipe_of(folder)

    assert trained() == trained(seed=3, threads=2) == trained(**{"data.corpus": "elsewhere"}) == trained(memory="false")
    assert len({trained(), trained(memory="true"), trained(**{"pretrain.learning_rate": 0.5}), trained(**{"data.languages": "[en]"}), trained(**{"model.base": "hub/x@1"}), trained(**{"model.base": "hub/y@1"})}) == 6
    # What a folder as a base was trained with counts, not where it stood.
    assert trained('{"base_recipe": "r"}', **{"model.base": "here"}) == trained('{"base_recipe": "r"}', **{"model.base": "there"}) != trained('{"base_recipe": "s"}', **{"model.base": "there"})
    assert recipe_of(tmp_path) == ""
    for wrong in ("{", "[]"):
        with pytest.raises(ValueError, match="is not what training wrote"):
            trained(wrong)
