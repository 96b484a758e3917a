"""What several tests of the library start from."""

import os

import pytest
import torch

from coursekit import data, models


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Where nothing may be skipped (COURSEKIT_NO_SKIP=1, as in continuous integration), a skipped test has failed.

    But for one that says "elsewhere": it is about another kind of user or of kernel than there is here.
    """
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("COURSEKIT_NO_SKIP") == "1":
        if report.longrepr[2].startswith("Skipped: elsewhere"):
            return report
        report.outcome, report.longrepr = "failed", f"skipped where nothing may be: {report.longrepr[2]}"
    return report


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Networks this small are several times faster on one thread, and the same on every machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
def device(request):
    return torch.device(request.param)


@pytest.fixture
def digits():
    """One hundred test digits, ten of each."""
    x, y, _ = data.load("mnist", "test")
    return x[:100], y[:100]


@pytest.fixture
def cnn():
    return models.load("mnist_cnn")
