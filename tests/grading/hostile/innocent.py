# ruff: noqa: E501 - one line per submission reads as a table
"""Slips of honest people, and all the ways of writing a right answer. They cost nothing, or the one question they are
about.
"""

from hostile.case import RIGHT, Case, Verdict, at_the_end, in_call, in_cell, zero

FULL_CLIP = Verdict(("passed",), (3.0,))


def right(body: str) -> Case:
    """A right answer to clip."""
    return in_call(body, FULL_CLIP)


CASES: dict[str, Case] = {
    "nothing-special": in_cell(""),
    # --- noise and manners
    "noise": right(
        """
        import warnings
        from tqdm.auto import tqdm
        warnings.warn("careful")
        print("on stderr", file=sys.stderr)
        for _ in tqdm(range(3)):
            pass
        return x.clamp(0, 1)
        """
    ),
    "warnings-are-errors": in_cell("import warnings\nwarnings.simplefilter('error')"),
    "input": in_call("return x.clamp(0, float(input('up to? ')))", zero("crashed", reason="input()")),
    "input-in-a-cell": in_cell("name = input('Your name: ')"),
    "installing": in_cell(
        "!pip install nothing-of-this-name\n%pip install x\n!conda install -y x\nimport math", says="not executed"
    ),
    "no-gpu": in_call("return x.cuda().clamp(0, 1)", zero("crashed", reason="x.device")),
    "no-gpu-in-a-cell": in_cell("model = torch.nn.Linear(2, 2).cuda()"),
    "best-device": right("device = 'cuda' if torch.cuda.is_available() else 'cpu'\nreturn x.to(device).clamp(0, 1)"),
    "workers": in_cell(
        """
        from torch.utils.data import DataLoader, TensorDataset
        print(sum(len(batch) for batch, in DataLoader(TensorDataset(torch.zeros(40, 2)), batch_size=8, num_workers=2)), "loaded")
        """,
        says="40 loaded",
    ),
    "workers-in-a-call": right(
        """
        from torch.utils.data import DataLoader, TensorDataset
        rows = [batch for batch, in DataLoader(TensorDataset(x.reshape(-1)), batch_size=2, num_workers=2)]
        return torch.cat(rows).reshape(x.shape).clamp(0, 1)
        """
    ),
    "processes": in_cell(
        """
        import multiprocessing, concurrent.futures
        with multiprocessing.Pool(2) as pool:
            print(pool.map(abs, [-1, -2]), "mapped")
        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            list(threads.map(abs, range(8)))
        """,
        says="[1, 2] mapped",
    ),
    "other-conditions": in_cell(
        """
        import random, numpy
        random.seed(99); numpy.random.seed(99); torch.manual_seed(99)
        torch.set_num_threads(8)
        torch.set_grad_enabled(False)
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = True
        x = torch.rand(300, 300)
        print((x @ x).shape, "multiplied")
        """,
        says="multiplied",
    ),
    "threads-in-a-call": right(
        "torch.set_num_threads(8)\ny = torch.rand(256, 256)\n(y @ y).sum()\nreturn x.clamp(0, 1)"
    ),
    "double-precision": in_cell("torch.set_default_dtype(torch.float64)"),
    "figures": in_cell(
        "%matplotlib inline\n%matplotlib notebook\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\nprint('drawn')",
        says="drawn",
    ),
    "magics": in_cell(
        "%load_ext autoreload\n%autoreload 2\n%config InlineBackend.figure_format = 'svg'\n%time 1 + 1\n!echo hello\nfiles = !ls\n%cd /tmp"
    ),
    "await": in_cell(
        "import asyncio\nawait asyncio.sleep(0.01)\nprint(await asyncio.gather(asyncio.sleep(0, 3)), 'awaited')",
        says="[3] awaited",
    ),
    "widgets": in_cell("import ipywidgets\nipywidgets.interact(lambda x: print(x), x=3)"),
    "syntax-error": in_cell("", {"test-clip": zero("crashed", reason="SyntaxError")}, clip="def clip(x)\n    return x"),
    "syntax-error-in-a-cell": in_cell("for x in (1, 2:\n    print"),
    "error-in-a-cell": in_cell("1 / 0"),
    "error-after-the-answer": in_cell("", clip=RIGHT["clip"] + "\n\nclip('seven')"),
    "an-own-test": in_cell(
        "", clip=RIGHT["clip"] + "\n\nassert clip(torch.tensor([2.0])).item() == 1.0\nclip(torch.rand(3))"
    ),
    "not-attempted": in_cell(
        "", {"test-clip": zero("not attempted")}, clip="def clip(x):\n    raise NotImplementedError()"
    ),
    "deleted-text": in_cell("", {"why": zero("not attempted")}, why=" "),
    "no-return": in_call("x.clamp(0, 1)", zero("wrong", reason="return")),
    "segfault": in_call("import ctypes\nctypes.string_at(0)", zero("died", "crashed")),
    "segfault-in-a-cell": in_cell("import ctypes\nctypes.string_at(0)", remark="begins with 'import ctypes'"),
    "exit": in_cell("exit()\nquit()"),
    "sys-exit": in_cell("import sys\nsys.exit(1)"),
    # --- the folder and the streams
    "other-folder": in_cell("os.makedirs('a/b')\nos.chdir('a/b')\nos.rmdir('../b')"),
    "folder-removed": in_cell("import shutil\nshutil.rmtree(os.getcwd(), ignore_errors=True)"),
    "closed-output": in_cell(
        "sys.stdout.close()\nsys.stderr.close()\nos.close(1)\nos.close(2)\nos.close(0)\nprint('?')"
    ),
    "replaced-output": in_cell("sys.stdout = None\nsys.stderr = open('log.txt', 'w')\nsys.displayhook = None"),
    "saved-and-loaded": at_the_end(
        "torch.save({'w': torch.ones(3)}, 'weights.pt')\nos.makedirs('data', exist_ok=True)\nopen('data/notes.txt', 'w').write('kept')",
        "print(torch.load('weights.pt')['w'].sum().item(), open('data/notes.txt').read())",
        says="3.0 kept",
    ),
    "own-module": in_cell(
        "import helper",
        clip="def clip(x):\n    return helper.clip(x)",
        files={"helper.py": "def clip(x):\n    return x.clamp(0, 1)\n", "data.csv": "1,2\n"},
    ),
    "data-of-the-package": in_cell(
        "from coursekit import data, models\nx, y, _ = data.load('mnist', 'test')\n"
        "print((models.load('mnist_cnn')(x[:100]).argmax(1) == y[:100]).float().mean().item() > 0.9, 'of digits')",
        says="True of digits",
    ),
    # --- all the ways of writing it
    "uses-an-earlier-function": in_cell(
        "", fgsm=RIGHT["fgsm"].replace("(x + eps * gradient.sign()).clamp(0, 1)", "clip(x + eps * gradient.sign())")
    ),
    "a-helper-below": in_cell(
        "", clip="def clip(x):\n    return between(x, 0)\n\ndef between(x, low):\n    return x.clamp(low, 1)"
    ),
    "closure": in_cell(
        "",
        clip="def make(low, high):\n    def inner(x):\n        return x.clamp(low, high)\n    return inner\n\nclip = make(0, 1)",
    ),
    "lambda": in_cell("", clip="clip = lambda x: x.clamp(0, 1)"),
    "partial": in_cell("", clip="import functools\nclip = functools.partial(torch.clamp, min=0, max=1)"),
    "class": in_cell("", clip="class Clip:\n    def __call__(self, x):\n        return x.clamp(0, 1)\n\nclip = Clip()"),
    "module": in_cell(
        "",
        clip="class Clip(torch.nn.Module):\n    def forward(self, x):\n        return x.clamp(0, 1)\n\nclip = Clip()",
    ),
    "decorated": in_cell(
        "",
        clip="import functools\n\n@functools.lru_cache(maxsize=None)\ndef bounds():\n    return 0, 1\n\n@torch.no_grad()\ndef clip(x):\n    return x.clamp(*bounds())",
    ),
    "scripted": in_cell(
        "", clip="@torch.jit.script\ndef clip(x: torch.Tensor) -> torch.Tensor:\n    return x.clamp(0, 1)"
    ),
    "compiled": in_cell(
        "", clip="def clip(x):\n    return x.clamp(0, 1)\n\nclip = torch.compile(clip, backend='eager')"
    ),
    "async": in_call(
        "import asyncio\nasync def work():\n    return x.clamp(0, 1)\nreturn asyncio.run(work())", FULL_CLIP
    ),
    "edits-its-argument": right("x.clamp_(0, 1)\nreturn x"),
    "through-numpy": right("return torch.from_numpy(x.numpy().clip(0, 1))"),
    "with-a-gradient": right("w = torch.ones((), requires_grad=True)\nreturn (w * x).clamp(0, 1)"),
    "a-parameter": right("return torch.nn.Parameter(x.clamp(0, 1))"),
    "not-contiguous": right("return x.clamp(0, 1).T.contiguous().T"),
    "wants-a-keyword": in_cell(
        "",
        mistakes="def mistakes(predicted, right, *, start=0):\n    return start + sum(map(lambda p, r: p != r, predicted, right))",
    ),
    "numpy-number": in_cell(
        "import numpy",
        share="def share(robust):\n    return numpy.mean(robust)",
        mistakes="def mistakes(predicted, right):\n    return (numpy.array(predicted) != numpy.array(right)).sum()",
    ),
    "tensor-for-a-number": in_cell(
        "", share="def share(robust):\n    return torch.tensor(robust, dtype=torch.float64).mean().item()"
    ),
    "generator-inside": in_cell(
        "",
        mistakes="def mistakes(predicted, right):\n    def wrong():\n        for p, r in zip(predicted, right):\n            if p != r:\n                yield 1\n    return sum(wrong())",
    ),
    "remembers-results": in_cell(
        "",
        clip="cache = {}\n\ndef clip(x):\n    key = x.numpy().tobytes()\n    if key not in cache:\n        cache[key] = x.clamp(0, 1)\n    return cache[key]",
    ),
    "counts-its-calls": in_cell(
        "",
        clip="calls = 0\n\ndef clip(x):\n    global calls\n    calls += 1\n    return x.clamp(0, 1) if calls < 100 else None",
    ),
    "trained-network": in_cell(
        """
        network = torch.nn.Linear(4, 2)
        optimiser = torch.optim.Adam(network.parameters())
        for _ in range(50):
            optimiser.zero_grad()
            network(torch.rand(8, 4)).sum().backward()
            optimiser.step()
        """,
        clip="def clip(x):\n    network(torch.zeros(1, 4))\n    return x.clamp(0, 1)",
    ),
}
