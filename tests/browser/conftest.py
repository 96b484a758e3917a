"""JupyterLab in a real browser: `open_notebook(path)` gives a notebook that a test uses as a person would.

    notebook = open_notebook("gradient_attacks.ipynb")     # a path (copied into the lab) or an nbformat notebook
    assert notebook.run_all() == []
    notebook.set("eps", 0.2)                               # a control of an explorer, found by its label
    assert notebook.picture_changed()                      # its picture and alt text, without a collapse meanwhile

Needs Chromium; where there is none the tests are skipped with the command that installs it. CHROMIUM names another
browser of the family. Works offline.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest

HERE = Path(__file__).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
FLAGS = [
    "--no-sandbox",  # Chromium's own needs user namespaces, which containers and root do not have
    "--disable-gpu", "--disable-dev-shm-usage",
    # Offline: nothing is looked up, nothing asks for the network in the background.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
]  # fmt: skip
SECONDS = 120  # a loaded machine may take long to start a kernel that imports torch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of this folder, and puts them last: Playwright leaves an event loop running."""
    here = [item for item in items if HERE in item.path.parents]
    for item in here:
        item.add_marker(pytest.mark.browser)
        item.add_marker(pytest.mark.slow)
    items[:] = [item for item in items if item not in here] + here


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's path. Skips if there is none."""
    if not CHROMIUM:
        pytest.skip("no Chromium: install it with `apt-get install chromium`, or set CHROMIUM to the path of a browser")
    return CHROMIUM


@pytest.fixture(scope="session")
def browser_type_launch_args(chromium: str) -> dict:
    return {"executable_path": chromium, "args": FLAGS}


@pytest.fixture(scope="session")
def browser_context_args() -> dict:
    return {"viewport": {"width": 1280, "height": 1000}}


class Lab(NamedTuple):
    """A running JupyterLab: its address, the folder it shows, its access token."""

    url: str
    root: Path
    token: str

    def link(self, path: str) -> str:
        return f"{self.url}/lab/tree/{path}?reset&token={self.token}"


SETTINGS = {
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
    # Off-screen cells stay in the page, so that a test finds a control without scrolling to it.
    "notebook-extension/tracker": '{"windowingMode": "none"}',
    "docmanager-extension/plugin": '{"autosave": false}',
}


@pytest.fixture(scope="session")
def lab(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One JupyterLab for the whole run, with a home of its own and an empty folder."""
    root, home = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("home")
    for name, text in SETTINGS.items():
        file = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    here = Path(sys.executable).parent
    env = os.environ | {"HOME": str(home), "PATH": f"{here}:{os.environ['PATH']}"}
    env |= {f"JUPYTER_{name}_DIR": str(home / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    started = Lab(f"http://127.0.0.1:{port}", root, "t")
    log = home / "lab.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.root_dir={root}",
             "--ServerApp.ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0",
             f"--IdentityProvider.token={started.token}", "--LabApp.expose_app_in_browser=True",
             f"--LabApp.user_settings_dir={home}/settings", f"--LabApp.workspaces_dir={home}/workspaces"],
            cwd=root, env=env, stdout=output, stderr=output,
        )  # fmt: skip
        try:
            _wait_for(started, server, log)
            yield started
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()


def _wait_for(lab: Lab, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            urllib.request.urlopen(f"{lab.url}/api/status?token={lab.token}", timeout=2).close()
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)


@pytest.fixture
def open_notebook(lab: Lab, page) -> Callable[..., "Notebook"]:
    """open_notebook(path or nbformat notebook, name=...): opens it in JupyterLab and waits for its kernel."""

    def go(source: str | Path | nbformat.NotebookNode, *, name: str = "notebook.ipynb") -> Notebook:
        if isinstance(source, nbformat.NotebookNode):
            nbformat.write(source, lab.root / name)
        elif Path(source).exists():
            name = Path(source).name
            shutil.copy(source, lab.root / name)
        else:
            name = str(source)
            assert (lab.root / name).exists(), f"no notebook {name} here or in the lab's folder"
        return Notebook(page, lab, name)

    return go


@pytest.fixture
def run_all(open_notebook) -> Callable[..., list[str]]:
    """run_all(path): opens a notebook, runs every cell, returns the errors, "Name: message" each."""
    return lambda source: open_notebook(source).run_all()


ERRORS = """panel.content.widgets.flatMap(cell => cell.model.outputs?.toJSON() ?? [])
    .filter(output => output.output_type === 'error').map(output => output.ename + ': ' + output.evalue)"""
WRITE = """([id, source]) => window.jupyterapp.shell.currentWidget.content.widgets
    .find(cell => cell.model.id === id).model.sharedModel.setSource(source)"""
# Heights of the cell's output, recorded at every change of its layout.
WATCH = """(picture) => {
    const output = picture.closest('.jp-OutputArea'); window.heights = [output.offsetHeight];
    window.watching?.disconnect();
    window.watching = new ResizeObserver(() => window.heights.push(output.offsetHeight));
    window.watching.observe(output) }"""


class Notebook:
    """A notebook open in JupyterLab. `page` is Playwright's, for whatever has no method here."""

    def __init__(self, page, lab: Lab, name: str) -> None:
        self.page, self.lab, self.name = page, lab, name
        self._before: tuple[str, str] | None = None
        self._picture = None
        page.set_default_timeout(1000 * SECONDS)
        self.reload()

    def reload(self) -> None:
        """Opens the notebook anew from its file and waits until its kernel is ready."""
        self.page.goto(self.lab.link(self.name))
        self.page.locator(".jp-Notebook .jp-Cell").first.wait_for()
        # To run before the session is ready would open the dialog "Select Kernel"; so does a notebook without one.
        self._in_lab("await window.jupyterapp.restored")
        self._in_lab("await panel.context.ready; await panel.sessionContext.ready", "a kernel (metadata.kernelspec?)")
        self._in_lab("await panel.sessionContext.session.kernel.info", "the kernel's first answer")

    def _in_lab(self, script: str, waiting_for: str = "JupyterLab", *, seconds: float = SECONDS):
        """Runs JavaScript in the page, where `panel` is the notebook; fails with what it waited for in vain."""
        failure = json.dumps(f"no {waiting_for} within {seconds} seconds")
        late = f"new Promise((_, fail) => setTimeout(() => fail(Error({failure})), {1000 * seconds}))"
        body = f"const panel = window.jupyterapp.shell.currentWidget; {script}"
        return self.page.evaluate(f"async () => Promise.race([(async () => {{ {body} }})(), {late}])")

    def run_all(self, *, seconds: float = 600) -> list[str]:
        """Runs every cell; returns the errors, "Name: message" each. Fails if that takes longer than `seconds`."""
        script = f"await window.jupyterapp.commands.execute('notebook:run-all-cells'); return {ERRORS}"
        return self._in_lab(script, "end of the last cell", seconds=seconds)

    def write(self, cell_id: str, source: str) -> None:
        """Puts code into a cell, as a student who solves an exercise."""
        self.page.evaluate(WRITE, [cell_id, source])

    def save(self) -> Path:
        """Saves the notebook and returns its file."""
        self._in_lab("await panel.context.save()")
        return self.lab.root / self.name

    def shut_down(self) -> None:
        """Ends the kernel, as leaving the lab does."""
        self._in_lab("await panel.sessionContext.shutdown()")

    def explorer(self, label: str):
        """The explorer with the control of this label."""
        explorers = self.page.locator(".coursekit-explorer")
        return explorers.filter(has=self.page.get_by_label(label, exact=True)).first

    def control(self, label: str):
        """The number box or list with exactly this label ("eps" is not "steps", nor the slider of eps)."""
        return self.explorer(label).get_by_label(label, exact=True)

    def set(self, label: str, value: object) -> None:
        """Changes a control as a person would: types into its box, or chooses from its list."""
        self._picture = self.explorer(label).locator("img")
        self._before = self.picture()
        self._picture.evaluate(WATCH)
        control = self.control(label)
        if control.evaluate("element => element.tagName") == "SELECT":
            control.select_option(label=str(value))
        else:
            control.fill(str(value))
            control.press("Tab")

    def picture(self, label: str | None = None) -> tuple[str, str]:
        """Source and alt text of the picture of the explorer with this control, or of the one last `set`."""
        image = self.explorer(label).locator("img") if label else self._picture
        assert image is not None, "name a control, or set one first"
        return image.get_attribute("src"), image.get_attribute("alt")

    def picture_changed(self, *, seconds: float = 20) -> bool:
        """Whether picture and alt text both changed after the last `set`. Fails if the cell collapsed meanwhile."""
        assert self._before is not None, "set a control first"
        deadline = time.monotonic() + seconds
        while not (changed := all(new != old for new, old in zip(self.picture(), self._before, strict=True))):
            if time.monotonic() > deadline:
                break
            self.page.wait_for_timeout(50)
        self.page.wait_for_timeout(100)  # a collapse right after the change
        heights = self.page.evaluate("window.heights")
        assert min(heights) > 0.9 * heights[0], f"the cell collapsed while its picture was redrawn: {heights}"
        return changed

    def screenshot(self, path: str | Path) -> None:
        """The page as it is, for a person to look at."""
        self.page.screenshot(path=path)
