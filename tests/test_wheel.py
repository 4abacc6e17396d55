"""The built wheel carries the configuration and Hydra's plugin, and composes from there."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_wheel_works_without_the_checkout(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("evalbench_dl-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "evalbench/conf/config.yaml" in names
    assert "evalbench/py.typed" in names
    assert "hydra_plugins/evalbench/sweeper.py" in names
    assert "evalbench/report/page.py" in names
    assert {"evalbench/record/summary.schema.json", "evalbench/report/render/tables.js"} <= set(names)
    assert {"evalbench/radar/radar.js", "evalbench/radar/radar.css"} <= set(names)

    # A fresh environment that sees this one's libraries, but not its editable install of the checkout.
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    (site,) = (tmp_path / "env" / "lib").glob("python3.*/site-packages")
    libraries = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "libraries.pth").write_text(libraries)
    zipfile.ZipFile(wheel).extractall(site)
    command = [str(python), "-m", "evalbench", "+sweep=grid", "--cfg", "job"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert "name: grid" in process.stdout
    where = subprocess.run(
        [str(python), "-c", "import evalbench; print(evalbench.__file__)"], cwd=tmp_path, capture_output=True, text=True
    )
    assert where.stdout.startswith(str(site))
