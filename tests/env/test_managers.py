"""Projects of managers that nothing here drives, and parts of projects that take no part in a search: recognised, and told."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_environments import Environment, env  # noqa: F401 - the fixture

from anytile.env.lock.errors import RequestError
from anytile.env.lock.project import read
from anytile.env.managers import manager_of
from anytile.env.rebuild.errors import CannotRebuild
from anytile.env.rebuild.plan import make_plan
from anytile.env.report import as_html

PROJECT = '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["numpy"]\n'


@pytest.mark.parametrize(
    ("files", "tool"),
    [
        ({"pyproject.toml": PROJECT + "[tool.pdm]\ndistribution = false\n"}, "pdm"),
        ({"pyproject.toml": PROJECT, "pdm.lock": ""}, "pdm"),
        ({"pyproject.toml": PROJECT + "[tool.pdm.build]\nincludes = []\n"}, None),
        ({"pyproject.toml": PROJECT + "[tool.pdm]\n[tool.uv]\n"}, None),
        ({"pyproject.toml": PROJECT + "[tool.hatch.envs.default]\n"}, "hatch"),
        ({"pyproject.toml": PROJECT + "[tool.hatch.build]\n"}, None),
        ({"pyproject.toml": PROJECT + "[tool.hatch.envs.default]\n", "uv.lock": ""}, None),
        ({"pyproject.toml": PROJECT + "[tool.pixi.workspace]\n"}, "pixi"),
        ({"pixi.toml": ""}, "pixi"),
        ({"Pipfile": ""}, "pipenv"),
        ({"pyproject.toml": "[tool.poetry]\n", "Pipfile": ""}, None),
        ({}, None),
    ],
)
def test_whose_project_it_is(tmp_path: Path, files: dict[str, str], tool: str | None) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = manager_of(tmp_path)
    assert (found.tool if found else None) == tool


def test_lock_writes_no_tables_that_nobody_reads(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text(PROJECT + "[tool.pdm]\ndistribution = false\n")
    with pytest.raises(RequestError, match="is PDM's, .* give --file requirements.lock .* or --tool uv"):
        read(None, None, tmp_path)
    assert read(None, "uv", tmp_path).tool == "uv" and read(tmp_path / "requirements.lock", None, tmp_path).tool == "pip"
    file.write_text(PROJECT + "[tool.hatch.envs.default]\n")
    assert "Hatch's, which reads [project] alone" in read(None, None, tmp_path).notes[0]


def test_files_that_are_not_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "setup.cfg").write_text("[options]\ninstall_requires =\n  torch\n")
    (tmp_path / "environment.yml").write_text("")
    assert [n.split(" was not read")[0] for n in read(None, None, tmp_path).notes] == ["setup.cfg", "environment.yml"]


def test_what_comes_from_elsewhere_is_not_asked_of_an_index(tmp_path: Path) -> None:
    """Somebody else's package may have the name there."""
    (tmp_path / "pyproject.toml").write_text(
        PROJECT.replace('["numpy"]', '["numpy", "My_Member", "fork", "torch"]')
        + "[tool.uv.sources]\nmy-member = { workspace = true }\nfork = { git = 'https://example.org/fork' }\ntorch = [{ index = 'cpu' }]\n"
    )
    project = read(None, None, tmp_path)
    assert [d.name for d in project.dependencies] == ["numpy", "torch"]
    assert project.notes == (
        "my-member comes from a workspace and took no part in the search",
        "fork comes from a repository and took no part in the search",
    )


def test_groups_and_workspaces_are_told(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "all"\n[tool.uv.workspace]\nmembers = ["parts/*"]\n')
    part = tmp_path / "parts" / "one"
    part.mkdir(parents=True)
    (part / "pyproject.toml").write_text(
        PROJECT + '[project.optional-dependencies]\ngpu = ["torch"]\n[dependency-groups]\ndev = ["pytest"]\nnone = []\n'
    )
    groups, workspace = read(None, None, part).notes
    assert groups.startswith("what the groups dev, gpu ask for took no part in the search")
    assert f"workspace in {tmp_path}," in workspace
    (tmp_path / "pyproject.toml").write_text(
        '[tool.poetry.dependencies]\npython = "^3.11"\n[tool.poetry.group.gpu.dependencies]\ntorch = "*"\n'
    )
    assert read(None, None, tmp_path).notes[0].startswith("what the group gpu asks for took no part")


def test_rebuild_leaves_them_to_their_manager(tmp_path: Path) -> None:
    (tmp_path / "Pipfile").write_text("")
    with pytest.raises(CannotRebuild, match="this project is Pipenv's, which makes its environments itself: pipenv --rm; pipenv sync"):
        make_plan(None, tmp_path, python="python3")


def test_doctor_names_the_manager_and_its_command(env: Environment) -> None:  # noqa: F811
    (env.root.parent / "pyproject.toml").write_text(PROJECT + "[tool.pdm]\n")
    env.torch("2.6.0", "12.4", requires=("triton==3.2.0",))
    env.triton("3.5.0")
    finding = env.findings()["torch_triton_api_skew"]
    assert env.facts.project.tool == "pdm"
    assert finding.fixes[0].commands == ('pdm add "triton==3.2.*"',)


def test_nightly_torch_gets_the_triton_that_lies_beside_it(env: Environment) -> None:  # noqa: F811
    env.torch("2.14.0.dev20260801+cu130", "13.0", requires=('pytorch-triton==3.8.0+git1a2b; platform_system == "Linux"',))
    env.triton("3.8.0", "pytorch-triton")
    env.triton("3.5.0")
    (fix,) = env.findings()["two_tritons"].fixes
    assert fix.commands[-1].endswith('"pytorch-triton==3.8.0+git1a2b" --index-url https://download.pytorch.org/whl/nightly/cu130')


def test_a_package_that_requires_triton_where_there_is_none(env: Environment) -> None:  # noqa: F811
    env.torch("2.9.0+cpu", requires=('triton==3.5.0; platform_system == "Linux"',))  # torch without Triton is left in peace
    env.add("other", "1", requires=("triton; sys_platform == 'win32'", "triton; extra == 'gpu'"))
    assert "win_no_triton" not in env.findings()
    env.add("liger-kernel", "0.6.2", requires=("torch>=2.1.2", "triton>=2.3.1"))
    finding = env.findings()["win_no_triton"]
    assert [e.text for e in finding.evidence] == ["liger-kernel 0.6.2 requires triton>=2.3.1, and no Triton is installed"]
    assert finding.fixes[0].commands == ("anytile enable",) and finding.fixes[1].commands[-1].endswith('"triton==3.5.*"')


def test_a_torch_for_intels_gpus_is_no_cpu_build(env: Environment) -> None:  # noqa: F811
    env.torch("2.8.0+xpu")
    (env.site / "torch/version.py").write_text("__version__ = '2.8.0+xpu'\ncuda: str = None\nhip = None\nxpu: Optional[str] = '20250100'\n")
    env.findings()
    assert "2.8.0+xpu (XPU 20250100)" in as_html(env.facts, [])
