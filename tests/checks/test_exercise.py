"""What a student sees and gets: cases all run, the table says why, nothing that is returned can fool a check."""

import json
import sys
import warnings

import numpy as np
import pytest
import torch
from IPython.utils.capture import capture_output
from torch import nn

from coursekit import checks
from coursekit.checks import expect, student
from coursekit.checks.values import describe

NET = checks.network(("linear", torch.tensor([[1.0, -2.0], [0.5, 1.0]]), None), name="a linear classifier")


def score(solution, *bodies, name="f", points=4.0, **globals_):
    """The report of an exercise on a student's function, each body being a case."""
    namespace = {name: solution, **globals_} if solution is not None else globals_
    with student.use(student.Notebook(namespace)):
        exercise = checks.Exercise(name, points=points)
        for number, body in enumerate(bodies):
            exercise.case(f"case {number}")(body)
        return exercise.report()


def returns_two(f):
    expect.close(f(1.0), 2.0, hint="Add one.", mistakes={"You subtract.": 0.0})


def test_points_are_shared_by_the_cases_and_one_failing_hides_no_other():
    report = score(lambda x: x + 1, returns_two, lambda f: expect.close(f(2.0), 4.0), returns_two, returns_two)
    assert (report["points"], report["status"]) == (3.0, "partial")
    assert [case["status"] for case in report["cases"]] == ["passed", "wrong", "passed", "passed"]
    assert report["reason"] == "case 1: got 3; expected 4"


@pytest.mark.parametrize(
    ("solution", "status", "text"),
    [
        (lambda x: x + 1, "passed", ""),
        (lambda x: x - 1, "wrong", "You subtract."),
        (lambda x: x, "wrong", "Add one."),
        (lambda x: None, "wrong", "Did you forget a return?"),
        (lambda x: "two", "wrong", "one number"),
        (lambda x: float("nan"), "wrong", "NaN"),
        (lambda x: [2.0], "wrong", "one number"),
        (lambda x: 1 / 0, "crashed", "ZeroDivisionError: division by zero"),
        (lambda x: sys.exit(), "crashed", "SystemExit"),
        (lambda: 2, "crashed", "TypeError"),
        (None, "crashed", "there is no function called f"),
        (3, "crashed", "this is not a function: f"),
        (lambda x: ..., "not attempted", "not attempted yet"),
    ],
)
def test_passed_wrong_crashed_and_not_attempted_are_different_things(solution, status, text):
    report = score(solution, returns_two)
    assert report["status"] == status
    assert text in report["reason"]
    assert (report["points"] == 4.0) == (status == "passed")


def test_stub_is_not_attempted_in_every_case():
    def stub(x):
        raise NotImplementedError()

    report = score(stub, returns_two, lambda f: None)
    assert report["status"] == "not attempted"
    assert report["points"] == 0


def test_a_stub_that_a_written_function_calls_is_named():
    def helper(x):
        raise NotImplementedError()

    def with_a_part_unwritten(x):
        def part():
            raise NotImplementedError()

        return part()

    report = score(lambda x: helper(x), returns_two, helper=helper)
    assert report["status"] == "crashed"
    assert "your helper, which this calls, is not written yet" in report["reason"]
    assert report["cases"][0]["hint"] == "Write that one first, or do without it here."
    assert score(lambda x: helper(x), returns_two)["status"] == "not attempted"  # its own: no other name is known
    assert score(with_a_part_unwritten, returns_two)["status"] == "not attempted"
    assert score(helper, returns_two, other_name=helper)["status"] == "not attempted"


@pytest.mark.parametrize("value", [2, 2.0, torch.tensor(2.0), torch.tensor([2]), np.float64(2), np.array(2.0)[()]])
def test_any_kind_of_number_counts(value):
    assert score(lambda x: value, returns_two)["status"] == "passed"


def test_a_list_of_the_callers_that_is_reordered_is_noticed():
    def f(sizes):
        return sorted(sizes)[0]

    def g(sizes):
        sizes.sort()
        return sizes[0]

    def body(f):
        expect.close(f([3.0, 1.0, 2.0]), 1.0)
        expect.unchanged(f)

    assert score(f, body)["status"] == "passed"
    assert "sizes was edited in place" in score(g, body)["cases"][0]["got"]


def test_a_dictionary_of_the_callers_that_is_edited_is_noticed():
    def takes_out(shares):
        return shares.pop("pgd")

    def overwrites(shares):
        shares["pgd"] = 0.0

    def reads(shares):
        return dict(shares).pop("pgd")

    def body(f):
        f({"pgd": 0.5, "one step": 0.7})
        expect.unchanged(f)

    for function in (takes_out, overwrites):
        assert "shares was edited in place" in score(function, body)["cases"][0]["got"]
    assert score(reads, body)["status"] == "passed"


def test_call_that_failed_and_the_students_line_are_named():
    def f(model, x):
        return x.reshape(7)

    report = score(f, lambda f: f(NET, torch.zeros(2, 2)))
    case = report["cases"][0]
    assert "shape '[7]' is invalid" in case["got"]
    assert case["expected"] == "a result from f(model 'a linear classifier', a float32 tensor of shape (2, 2))"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "Did you forget a return?"),
        ([1.0], "Return a torch.Tensor"),
        (np.zeros((2, 3)), "a numpy array of shape (2, 3)"),
        (torch.tensor(1.0), "mean or a sum"),
        (torch.zeros(3, 2), "another shape"),
        (torch.zeros(3), "A dimension is missing"),
        (torch.zeros(1, 3), "any number of images"),
        (torch.zeros(2, 3, dtype=torch.float64), "dtype float64"),
        (torch.tensor([[float("nan")] * 3] * 2), "6 of 6 values that are NaN"),
    ],
)
def test_tensors_are_held_to_type_shape_dtype_finite_in_this_order(value, text):
    report = score(lambda: value, lambda f: expect.tensor(f(), like=torch.zeros(2, 3)))
    assert report["status"] == "wrong"
    assert text in report["reason"]


class AlwaysEqual(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func in (torch.allclose, torch.equal, torch.Tensor.__eq__):
            return True
        return super().__torch_function__(func, types, args, kwargs)


class EqualsAll(float):
    def __eq__(self, other):
        return True

    __hash__ = float.__hash__

    def __float__(self):
        return 2.0


def test_objects_that_claim_to_be_equal_are_not_believed():
    tensor = torch.zeros(3).as_subclass(AlwaysEqual)
    assert score(lambda: tensor, lambda f: expect.close(f(), torch.ones(3)))["status"] == "wrong"
    assert score(lambda x: EqualsAll(7.0), returns_two)["status"] == "wrong"
    assert score(lambda x: type("Sly", (), {"__eq__": lambda *_: True})(), returns_two)["status"] == "wrong"


def test_arguments_are_copies_and_what_a_call_does_to_them_is_reported():
    x = torch.zeros(2, 2)

    def impolite(model, x):
        model.train()
        x += 1
        return x

    report = score(impolite, lambda f: (f(NET, x), expect.unchanged(f)))
    assert report["cases"][0]["got"] == "model was left in train mode and x was edited in place"
    assert torch.equal(x, torch.zeros(2, 2))


def test_backward_is_no_offence_but_an_input_that_now_requires_a_gradient_is():
    def on_a_copy(model, x):
        z = x.clone().requires_grad_(True)
        model(z).sum().backward()
        return z.grad

    def on_the_input(model, x):
        x.requires_grad_(True)
        model(x).sum().backward()
        return x.grad

    def polite(f):
        expect.tensor(f(NET, torch.zeros(2, 2)))
        expect.unchanged(f)

    assert score(on_a_copy, polite)["status"] == "passed"
    assert score(on_the_input, polite)["cases"][0]["got"] == "x was made to require a gradient"


def test_the_reference_is_out_of_reach_while_the_function_runs_under_any_name():
    from coursekit import attacks
    from coursekit.attacks import fgsm as borrowed

    source = """
def by_module(model, x, y):
    return attacks.fgsm(model, x, y, None)

def by_name(model, x, y):
    return borrowed(model, x, y, None)
"""
    namespace = {"attacks": attacks, "borrowed": borrowed}
    exec(source, namespace)
    with student.use(student.Notebook(namespace)):
        for name in ("by_module", "by_name"):
            exercise = checks.Exercise(name, points=1, by_hand=["coursekit.attacks.fgsm"])
            exercise.case("calls it")(lambda f: f(NET, torch.zeros(1, 2), torch.tensor([0])))
            assert "what this exercise asks you to write yourself" in exercise.reason
    assert attacks.fgsm is borrowed is namespace["borrowed"]


def test_a_notebook_keeps_its_globals_while_the_reference_is_out_of_reach():
    namespace = {"calls": 0}
    exec("def f(x):\n    global calls, seen\n    calls += 1\n    seen = x\n    return x", namespace)
    with student.use(student.Notebook(namespace)):
        exercise = checks.Exercise("f", points=1, by_hand=["coursekit.attacks.fgsm"])
        exercise.case("counts")(lambda f: f(3))
    assert namespace["calls"] == 1
    assert namespace["seen"] == 3


def test_a_check_computes_gradients_whatever_the_notebook_switched_off():
    from coursekit import attacks

    x, y = torch.rand(3, 2), torch.tensor([0, 1, 0])

    def body(f):
        expect.close(f(NET, x, y), attacks.input_gradient(NET.build(), x, y))

    def right(model, x, y):
        z = x.clone().requires_grad_(True)
        return torch.autograd.grad(torch.nn.functional.cross_entropy(model(z), y, reduction="sum"), z)[0]

    for switched_off in (torch.no_grad(), torch.inference_mode()):
        with switched_off:
            assert score(right, body)["status"] == "passed"
            assert score(lambda *_: torch.zeros(3, 2), body)["status"] == "wrong"


class Sly(str):
    def __eq__(self, other):
        return True

    __hash__ = str.__hash__


@pytest.mark.parametrize("value", [10**400, torch.zeros(2).to(torch.float8_e5m2), Sly("no")])
def test_odd_values_fail_and_break_nothing(value):
    assert score(lambda x: value, returns_two)["status"] == "wrong"
    assert score(lambda x: value, lambda f: expect.tensor(f(1.0)))["status"] == "wrong"
    assert score(lambda x: value, lambda f: expect.that(f(1.0) == "yes", "no", "yes"))["status"] == "wrong"


def test_errors_of_torch_are_explained_and_told_once():
    def f(model, x):
        return torch.autograd.grad(torch.zeros(()), x)

    report = score(f, *[lambda f: f(NET, torch.zeros(2, 2))] * 3)
    assert "requires_grad=True before the model sees it" in report["cases"][0]["hint"]
    text = checks.table.as_text(report)
    assert text.count("does not require grad") == 1
    assert text.count("the same error") == 2


def test_a_notebook_without_gradients_and_the_global_seed_do_no_harm():
    def f(x):
        torch.rand(3)
        return x.clone().requires_grad_().sum().requires_grad

    state = torch.get_rng_state()
    with torch.no_grad():
        report = score(f, lambda f: expect.that(f(torch.zeros(2)), "False", "True"))
    assert report["status"] == "passed"
    assert torch.equal(torch.get_rng_state(), state)


def test_warnings_and_progress_bars_reach_no_stderr(capfd):
    def f(x):
        warnings.warn("careful", stacklevel=1)
        print("bar", file=sys.stderr)
        return x + 1

    assert score(f, returns_two)["status"] == "passed"
    assert capfd.readouterr().err == ""


def test_ctrl_c_stops_the_check():
    def f(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(f, returns_two)


def test_broken_check_is_an_error_of_ours_not_a_wrong_answer():
    with pytest.raises(AttributeError):
        score(lambda x: 2.0, lambda f: f(1.0).no_such_thing)


def test_only_values_may_be_passed():
    with pytest.raises(TypeError, match="values only; got Linear"):
        score(lambda x: x, lambda f: f(nn.Linear(2, 2)))


def test_variables_are_values_too():
    with student.use(student.Notebook({"guess": 3, "nothing": None})):
        assert student.current().value("guess").value == 3
        assert student.current().value("nothing").not_attempted
        assert student.current().value("absent").missing


@pytest.mark.parametrize("points", [0, -1, float("nan")])
def test_points_must_be_positive(points):
    with pytest.raises(ValueError, match="points"):
        checks.Exercise("f", points=points)


def test_exercise_without_cases_is_an_error():
    with pytest.raises(ValueError, match="has no cases"):
        checks.Exercise("f", points=1).score()


def test_plain_text_elsewhere(capsys):
    with student.use(student.Notebook({"f": lambda x: x})):
        exercise = checks.Exercise("f", points=2)
        exercise.case("adds one")(returns_two)
        value = exercise.score()
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["f", "0", "of", "2", "points"]
    assert "X    adds one" in out
    assert "got 1; expected 2" in out
    assert "Add one." in out
    assert "\x1b" not in out
    assert value == 0.0


@pytest.fixture
def ipython():
    from IPython.core.interactiveshell import InteractiveShell

    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


def test_table_in_a_notebook_and_the_bare_number_for_nbgrader(ipython):
    hostile = "<script>alert(1)</script>"
    with student.use(student.Notebook({"f": lambda x: hostile})), capture_output() as captured:
        exercise = checks.Exercise("f", points=3)
        exercise.case("adds one")(returns_two)
        exercise.case("nothing")(lambda f: None)
        value = exercise.score()
    (output,) = captured.outputs
    assert "<table" in output.data["text/html"]
    assert "<script" not in output.data["text/html"]
    assert output.data["text/plain"].startswith("f ")
    report = output.data[checks.MIME]
    assert json.loads(json.dumps(report)) == report
    assert report["points"] == 1.5
    data, _ = ipython.display_formatter.format(value)
    assert float(data["text/plain"]) == 1.5
    assert "1.5 of 3 points" in data["text/html"]


def test_network_descriptions_are_checked_where_they_are_written():
    with pytest.raises(ValueError, match="got 'convolution', allowed are 'linear'"):
        checks.network(("convolution",))


def test_reveal_waits_for_a_guess(capsys):
    checks.reveal(None, "42 of 784")
    assert "42" not in capsys.readouterr().out
    checks.reveal(7, "42 of 784", "Because.")
    out = capsys.readouterr().out
    assert "7" in out
    assert "42 of 784" in out
    assert "Because." in out


def test_figures_use_the_students_function_where_it_works(monkeypatch, capsys):
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "double", lambda x: 2 * x, raising=False)
    assert checks.yours("double", lambda x: -1)(4) == 8
    assert capsys.readouterr().out == ""

    def stub(x):
        raise NotImplementedError

    monkeypatch.setattr(main, "double", stub, raising=False)
    attack = checks.yours("double", lambda x: -1)
    assert [attack(4), attack(5)] == [-1, -1]
    assert capsys.readouterr().out.count("is not written yet") == 1

    monkeypatch.setattr(main, "half", stub, raising=False)
    monkeypatch.setattr(main, "double", lambda x: 4 * main.half(x), raising=False)
    assert checks.yours("double", lambda x: -1)(4) == -1
    assert "Your `double` calls half, which is not written yet" in capsys.readouterr().out


def test_a_function_that_fails_its_check_is_not_shown_in_figures(monkeypatch, capsys):
    def checked(function):
        monkeypatch.setattr(sys.modules["__main__"], "halve", function, raising=False)
        with student.use(student.Notebook({"halve": function})):
            exercise = checks.Exercise("halve", points=1)
            exercise.case("of 4")(lambda halve: expect.close(halve(4.0), 2.0))
            exercise.score()
        capsys.readouterr()
        return checks.yours("halve", lambda x: -1)

    assert checked(lambda x: x / 3)(8.0) == -1
    assert "`halve` does not pass its check yet" in capsys.readouterr().out
    assert checked(lambda x: x / 2)(8.0) == 4
    assert capsys.readouterr().out == ""


def test_a_slip_in_a_students_function_spoils_no_figure(monkeypatch, capsys):
    def careless(model, x):
        model.train()
        x += 1
        return x.mean()

    monkeypatch.setattr(sys.modules["__main__"], "careless", careless, raising=False)
    model, x = NET.build(), torch.zeros(3, 2)
    assert torch.equal(checks.yours("careless", lambda model, x: x - 1)(model, x), torch.full((3, 2), -1.0))
    assert "returned a number instead of a tensor of shape (3, 2)" in capsys.readouterr().out
    assert torch.equal(x, torch.zeros(3, 2))
    assert not model.training


def test_another_kind_of_list_or_number_is_as_good(monkeypatch, capsys):
    def shown(result, expected):
        monkeypatch.setattr(sys.modules["__main__"], "found", lambda: result, raising=False)
        return checks.yours("found", lambda: expected)()

    assert shown((1, 2), [3, 4]) == (1, 2)
    for number in (np.float32(0.5), torch.tensor(0.5), torch.tensor([0.5]), 0.5):
        assert f"{shown(number, 2.0):.2f}" == "0.50"
    assert capsys.readouterr().out == ""
    assert shown([0.5], 2.0) == 2.0
    assert "returned a list instead of a number" in capsys.readouterr().out


def test_a_function_that_trains_its_model_leaves_the_reference_an_untrained_one(monkeypatch, capsys):
    def train(model, by=1.0):
        with torch.no_grad():
            model[0].weight += by
        return [model[0].weight.detach().clone()]

    start = NET.build()[0].weight.detach()
    met = []

    def reference(model):
        met.append(model[0].weight.detach().clone())
        return train(model, 5.0)

    monkeypatch.setattr(sys.modules["__main__"], "trained", train, raising=False)
    model = NET.build()
    torch.testing.assert_close(checks.yours("trained", reference)(model)[0], start + 1)
    torch.testing.assert_close(model[0].weight.detach(), start + 1)
    monkeypatch.setattr(sys.modules["__main__"], "trained", lambda model: train(model)[0], raising=False)
    torch.testing.assert_close(checks.yours("trained", reference)(NET.build())[0], start + 5)
    assert "the reference stands in" in capsys.readouterr().out
    assert all(torch.equal(weights, start) for weights in met)


def test_batch_norm_normalises_with_the_batch_in_train_mode_only():
    x = torch.tensor([[1.0, 4.0], [3.0, 8.0]])
    model = checks.network(("batch_norm", 2)).build()
    torch.testing.assert_close(model(x), x, rtol=1e-4, atol=0)
    torch.testing.assert_close(model.train()(x), torch.tensor([[-1.0, -1.0], [1.0, 1.0]]), rtol=1e-4, atol=0)
    assert not list(model.parameters())


def test_slips_in_handing_over_a_function_are_explained(capsys):
    def attack(x, eps):
        return eps * x

    def use(step):
        return step(torch.ones(2))

    slips = {
        "bind it first": lambda: use(attack),
        "hand over the function": lambda: use(attack(torch.ones(2), 1)),
        "arguments of your lambda": lambda: use(lambda a, b: a),
    }
    for says, slip in slips.items():
        with student.use(student.Notebook({"slip": slip})):
            exercise = checks.Exercise("slip", points=1)
            exercise.case("runs")(lambda slip: slip())
            assert says in exercise.reason


def test_long_values_are_cut_with_dots_that_say_so():
    assert describe(dict.fromkeys("abcd", 1.0)) == "{a: 1, b: 1, c: 1, d: 1}"
    assert describe(dict.fromkeys("abcde", 1.0)) == "{a: 1, b: 1, c: 1, d: 1, ...}"
    assert describe([1, 2, 3, 4, 5]) == "[1, 2, 3, 4, ...]"
    assert describe(1 << 20_000) == "a whole number of 20001 bits"
    nested = 0.5
    for _ in range(8):
        nested = [nested] * 4
    for endless in ({"x" * 10**7: 1}, [[["word" * 15] * 4] * 4] * 4, nested, checks.values.Foreign("x" * 10**7)):
        assert len(describe(endless)) <= 300
    assert describe(torch.zeros(7, dtype=torch.int64)) == "an int64 tensor of shape (7,)"
    assert describe(torch.zeros(7)) == "a float32 tensor of shape (7,)"


@pytest.mark.parametrize(
    ("solution", "text"),
    [
        (lambda h: h.max(dim=1), "take .values."),
        (lambda h: h.max(dim=1).clamp_min(0), "take .values."),
        (lambda h: h[:, 0] - h.max(dim=1), "take .values."),
        (lambda h: (h[:, 0], h[:, 1]), "Return a torch.Tensor."),
        (lambda h: h.T, "Rows are outputs."),
    ],
)
def test_values_and_places_are_told_apart_and_a_case_may_say_what_its_shape_means(solution, text):
    h = torch.tensor([[1.0, 2.0], [4.0, 3.0], [0.0, 5.0]])

    def body(f):
        expect.close(f(h), h.amax(dim=1), shape_hint="Rows are outputs.")

    (case,) = score(solution, body)["cases"]
    assert case["hint"].endswith(text)
