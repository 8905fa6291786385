"""The tree of the tests is that of the source: whoever changes a module finds its tests by its name."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
ELSEWHERE = {
    "It holds names or numbers and decides nothing.": ("flows/command_line/options.py",),
    "It is fields, which tests/cache/config/test_features.py and tests/cache/front_end/test_noisy_waveform.py read.": (
        "cache/config/embedding_model.py",
        "cache/config/noise.py",
    ),
    "It needs a background, which tests/cache/test_background.py makes and reads.": (
        "cache/recordings/background_tables.py",
    ),
    "It is fields and their ranges, to which tests/birdclef/test_config.py holds all sections alike.": (
        "birdclef/config/augment.py",
        "birdclef/config/evaluate.py",
        "birdclef/config/model.py",
        "birdclef/config/objective.py",
        "birdclef/config/promote.py",
    ),
    "It needs a run that was trained: tests/birdclef/test_train.py makes one and loads and predicts with it.": (
        "birdclef/predict.py",
    ),
    "It needs an exported run: tests/birdclef/test_export.py makes one and reads its card and its answers.": (
        "birdclef/export_formats/exportable.py",
        "birdclef/export_formats/model_card.py",
        "birdclef/serving/onnx_classifier.py",
    ),
    "It is a part of the scores that tests/birdclef/scores/test_report_scores.py holds to plain loops.": (
        "birdclef/metrics/headline.py",
        "birdclef/scores/member_scores.py",
        "birdclef/scores/scorer.py",
    ),
    "It needs a report and predictions of its held-out part, which tests/birdclef/test_held_out.py makes.": (
        "birdclef/scores/held_out_scores.py",
        "birdclef/scores/looks.py",
    ),
    "It needs predictions of a model's own labels, which tests/birdclef/test_zero_shot.py makes.": (
        "birdclef/scores/own_labels.py",
    ),
    "It needs trials of several seeds, which tests/birdclef/test_compare.py makes.": (
        "birdclef/comparison/trial_scores.py",
    ),
    "It is a part of one training, which tests/birdclef/training/test_fit.py runs.": (
        "birdclef/training/non_finite_loss.py",
        "birdclef/training/data_module.py",
        "birdclef/training/lightning_module.py",
    ),
    "It takes types apart for tests/flows/configuration/test_problems.py and test_explanation.py.": (
        "flows/configuration/section_types.py",
    ),
    "It is a command: tests/flows/command_line/test_app.py and tests/flows/serving/test_serve.py run it.": (
        "flows/command_line/comparisons.py",
        "flows/command_line/foreground.py",
        "flows/command_line/predict.py",
        "flows/command_line/serve.py",
        "flows/command_line/stages.py",
    ),
    "It starts a command, or its server: tests/flows/command_line/test_interruption.py starts and interrupts one.": (
        "flows/command_line/entry.py",
        "flows/command_line/temporary_server.py",
    ),
    "It is a flow: tests/flows/test_pipeline.py and tests/flows/command_line/test_app.py run it.": (
        "flows/compare.py",
        "flows/sweep.py",
    ),
    "It needs processes that train together and die: tests/birdclef/training/test_distributed.py.": (
        "birdclef/devices/ranks.py",
    ),
    "It is a part of the catalogue, which tests/cache/test_catalogue.py builds from faulty recordings.": (
        "cache/recordings/quarantine.py",
    ),
    "It needs children that die, which tests/cache/computing/test_retries.py plants.": (
        "cache/computing/child.py",
        "cache/isolation/endings.py",
        "cache/isolation/fork_server.py",
        "cache/isolation/kept_server.py",
        "cache/isolation/limits.py",
        "cache/isolation/messages.py",
    ),
    "It is the child of tests/cache/isolation/test_decoder.py.": ("cache/isolation/decoder_child.py",),
    "It needs a bucket: tests/cache/test_s3.py.": ("cache/workspace/mirror.py",),
    "It needs a history of champions, which tests/flows/test_retraining.py makes and rolls back by these commands.": (
        "flows/command_line/models.py",
    ),
}


def test_each_module_has_tests_of_its_name_or_a_reason_why_they_lie_elsewhere() -> None:
    modules = {
        path.relative_to(PROJECT)
        for package in ("birdclef", "cache", "flows")
        for path in (PROJECT / package).rglob("*.py")
        if path.name != "__init__.py"
    }
    untested = {
        path.as_posix() for path in modules if not (PROJECT / "tests" / path.parent / f"test_{path.name}").is_file()
    }
    assert untested == {path for paths in ELSEWHERE.values() for path in paths}


def test_each_folder_with_modules_is_a_package() -> None:
    """Otherwise the import contracts do not see its modules, and the wheel does not contain them."""
    folders = {path.parent for package in ("birdclef", "cache", "flows") for path in (PROJECT / package).rglob("*.py")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []
