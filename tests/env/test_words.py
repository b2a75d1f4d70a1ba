"""The words of a log: what they are, how they order causes, and where they are asked."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from anytile.cli import doctor
from anytile.env.diagnose import diagnose
from anytile.env.facts import Log
from anytile.env.log import read_log
from anytile.env.rules import RULES
from anytile.env.rules import words as words_of_logs
from anytile.env.rules.words import ALL, TABLE, likeness, vocabulary

ROOT = Path(__file__).parents[2]


def log_of(text: str) -> Log:
    log = read_log(text).log
    assert log is not None
    return log


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("doctor_words", ROOT / "scripts" / "doctor_words.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_words_are_small_letters_and_kinds_of_mentions_without_listings_and_folders() -> None:
    found = vocabulary(log_of("/home/somebody/work/deep/down/env/thing.py\nImportError: No module named 'flurb'\ntorch==2.6.0\n版本"))
    assert {"importerror", "flurb", "<missing_module>", "thing", "版", "本"} <= found
    assert not {"somebody", "torch", "the", "<package_version>"} & found


def test_of_a_long_text_only_the_lines_that_complain_are_read() -> None:
    found = vocabulary(log_of("\n".join(f"step {n} of the kettle" for n in range(20)) + "\nRuntimeError: broken spoon"))
    assert "spoon" in found and "kettle" not in found


def test_likely_is_what_the_words_were_counted_for_and_the_best_is_zero() -> None:
    table = {ALL: {"a": 10, "b": 10}, "spoon": {"a": 5}, "fork": {"b": 5}, "error": {"a": 5, "b": 5}}
    like = likeness(log_of("error: the spoon"), table)
    assert like["a"] == 0 > like["b"]
    assert likeness(log_of("error: the spoon and the fork"), table) == pytest.approx({"a": 0, "b": 0})


def test_a_frequent_cause_is_likelier_where_words_say_nothing() -> None:
    like = likeness(log_of("error"), {ALL: {"a": 30, "b": 3}})
    assert like["a"] > like["b"]


def test_the_table_holds_causes_that_have_rules_and_words_that_are_no_paths() -> None:
    rows = (ROOT / "src/anytile/env/rules" / TABLE).read_text(encoding="utf-8").splitlines()
    words = {row.split("\t")[0]: row.split("\t")[1].split() for row in rows if not row.startswith("#")}
    causes = {rule.cause for rule in RULES}
    assert 300 < len(words) < 1000
    assert all(count.partition(":")[0] in causes for counts in words.values() for count in counts)
    assert all(word == ALL or word.strip("<>").replace("_", "").isalpha() for word in words)


def test_the_script_counts_words_of_three_repositories(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = script()
    texts = ["the kettle broke", "my kettle is broken by anna", "kettle error, says anna"]
    cases = [{"id": f"repo{n}-1", "error_text": text, "cause_class": "long_path"} for n, text in enumerate(texts)]
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(map(json.dumps, cases)), encoding="utf-8")
    table = words.count(words.reports(path))
    assert table["kettle"] == {"long_path": 3} == table[ALL]
    assert "anna" not in table
    words.check({"one": words.reports(path), "two": words.reports(path)})
    assert "first 100.0%" in capsys.readouterr().out


def test_an_installation_without_the_table_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    log.write_text("ImportError: DLL load failed while importing libtriton\n")
    monkeypatch.setattr(words_of_logs, "TABLE", "gone.tsv")
    words_of_logs._table.cache_clear()
    try:
        assert doctor.run(None, str(log), False, None, False) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith("anytile: could not look: anytile's installation is damaged: the table of words ")
        assert "gone.tsv cannot be read" in line and line.endswith("pip install --force-reinstall --no-deps anytile")
    finally:
        words_of_logs._table.cache_clear()


def test_words_order_what_rules_find_and_confidence_falls() -> None:
    findings = diagnose(read_log("OSError: [WinError 127] Error loading torchaudio\\lib\\libtorchaudio.pyd"))
    sure = [f.confidence for f in findings]
    assert findings[0].cause == "torchaudio_mismatch" and sure == sorted(sure, reverse=True)


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("Make sure that torch comes with CUDA on the installer's machines", "torch_cpu_build"),
        ("This card is an RTX 5060 and torch was made without it", "torch_arch_missing"),
    ],
)
def test_a_sentence_that_no_program_says_is_a_complaint(said: str, cause: str) -> None:
    findings = diagnose(read_log(said))
    assert cause in [f.cause for f in findings[:3]], [(f.cause, f.confidence) for f in findings]


@pytest.mark.parametrize(
    "said",
    [
        "Successfully installed torch-2.9.0",
        "The kernels of torch work on this GPU",
        "Loading the CUDA extensions of torch...",
        "The coffee machine is broken, can I have my money back?",
    ],
)
def test_content_and_other_matters_are_none(said: str) -> None:
    assert diagnose(read_log(said)) == []


def test_a_traceback_that_was_cut_off_is_a_failure() -> None:
    cut = 'File "/v/site-packages/torch/_inductor/runtime/triton_heuristics.py", line 9, in make\n    hook = binary.__class__.launch_exit_hook'
    assert diagnose(read_log(cut))[0].cause == "torch_triton_api_skew"


def test_levels_of_loggers_before_a_line_make_no_listing_of_it() -> None:
    log = "ERROR:    PermissionError: [Errno 13] Permission denied: '/srv/app/.triton'"
    assert diagnose(read_log(log))[0].cause == "permission"


def test_a_listing_below_a_sentence_takes_nothing_away() -> None:
    said = "Isolate the environment from what lies in ~/.local"
    listing = "Package  Version\n-------- -------\nnumpy    2.1.3\nnvidia-cuda-something 13.5.37\ntorch    2.9.0+cpu\n"
    causes = [[f.cause for f in diagnose(read_log(text))] for text in (said, f"{said}\n\n{listing}")]
    assert causes[0] == causes[1] and causes[0][0] == "user_site_leak"
