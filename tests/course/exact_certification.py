# Answers to assignment `exact_certification` as students write them. Each cell stands in for one solution cell.
# wrong: must lose points, and `says` must appear in what the check shows. right: must get full points.

# ---------------------------------------------------------------- range_of_linear
# %% wrong="range_of_linear" name="the corners lower and upper" says="A negative weight wants its coordinate at the other end"
def range_of_linear(weight, bias, lower, upper):
    return weight @ lower + bias, weight @ upper + bias

# %% wrong="range_of_linear" name="the lower of the two corners" says="Each coordinate chooses its end for itself"
def range_of_linear(weight, bias, lower, upper):
    first, second = weight @ lower + bias, weight @ upper + bias
    return torch.minimum(first, second), torch.maximum(first, second)

# %% wrong="range_of_linear" name="swapped" says="Highest and lowest are swapped"
def range_of_linear(weight, bias, lower, upper):
    p, n = weight.clamp(min=0), weight.clamp(max=0)
    return p @ upper + n @ lower + bias, p @ lower + n @ upper + bias

# %% wrong="range_of_linear" name="no bias" says="The bias is missing"
def range_of_linear(weight, bias, lower, upper):
    p, n = weight.clamp(min=0), weight.clamp(max=0)
    return p @ lower + n @ upper, p @ upper + n @ lower

# %% wrong="range_of_linear" name="radius through W" says="a radius goes through |W|, not W"
def range_of_linear(weight, bias, lower, upper):
    centre, radius = weight @ ((lower + upper) / 2) + bias, weight @ ((upper - lower) / 2)
    return centre - radius, centre + radius

# %% wrong="range_of_linear" name="radius not halved" says="The radius is taken twice"
def range_of_linear(weight, bias, lower, upper):
    centre, radius = weight @ ((lower + upper) / 2) + bias, weight.abs() @ (upper - lower)
    return centre - radius, centre + radius

# %% wrong="range_of_linear" name="only the lowest" says="Return both"
def range_of_linear(weight, bias, lower, upper):
    return weight.clamp(min=0) @ lower + weight.clamp(max=0) @ upper + bias

# %% wrong="range_of_linear" name="one number for the layer" says="shape"
def range_of_linear(weight, bias, lower, upper):
    p, n = weight.clamp(min=0), weight.clamp(max=0)
    return (p @ lower + n @ upper + bias).min(), (p @ upper + n @ lower + bias).max()

# %% wrong="range_of_linear" name="no return" says="forget a return"
def range_of_linear(weight, bias, lower, upper):
    low = weight.clamp(min=0) @ lower + weight.clamp(max=0) @ upper + bias

# %% wrong="range_of_linear" name="single precision" says="dtype"
def range_of_linear(weight, bias, lower, upper):
    p, n = weight.clamp(min=0), weight.clamp(max=0)
    return (p @ lower + n @ upper + bias).float(), (p @ upper + n @ lower + bias).float()

# %% wrong="range_of_linear" name="edits the weights" says="edited in place"
def range_of_linear(weight, bias, lower, upper):
    low = weight.clamp(min=0) @ lower + weight.clamp(max=0) @ upper + bias
    weight.mul_(-1)
    return low, -(weight.clamp(min=0) @ lower + weight.clamp(max=0) @ upper) + bias

# %% right="range_of_linear" name="centre and radius"
def range_of_linear(weight, bias, lower, upper):
    centre, radius = weight @ ((lower + upper) / 2) + bias, weight.abs() @ ((upper - lower) / 2)
    return centre - radius, centre + radius

# %% right="range_of_linear" name="element by element, as a list"
def range_of_linear(weight, bias, lower, upper):
    a, b = weight * lower, weight * upper
    return [torch.minimum(a, b).sum(dim=1) + bias, torch.maximum(a, b).sum(dim=1) + bias]

# %% right="range_of_linear" name="loops"
def range_of_linear(weight, bias, lower, upper):
    low, high = bias.clone(), bias.clone()
    for i in range(len(bias)):
        for j in range(len(lower)):
            ends = sorted([float(weight[i, j] * lower[j]), float(weight[i, j] * upper[j])])
            low[i] += ends[0]
            high[i] += ends[1]
    return low, high

# ---------------------------------------------------------------- relu_rows
# %% wrong="relu_rows" name="a >= z is missing" says="a >= z is missing"
def relu_rows(l, u):
    A = torch.tensor([[0, 1, 0], [0, 1, -u], [-1, 1, -l]], dtype=torch.float64)
    return A, torch.tensor([0, -math.inf, -math.inf]).double(), torch.tensor([math.inf, 0, -l]).double()

# %% wrong="relu_rows" name="a >= 0 is missing" says="a >= 0 is missing"
def relu_rows(l, u):
    A = torch.tensor([[-1, 1, 0], [0, 1, -u], [-1, 1, -l]], dtype=torch.float64)
    return A, torch.tensor([0, -math.inf, -math.inf]).double(), torch.tensor([math.inf, 0, -l]).double()

# %% wrong="relu_rows" name="nothing forces a to 0" says="force a <= 0 when s = 0"
def relu_rows(l, u):
    A = torch.tensor([[-1, 1, 0], [0, 1, 0], [0, 1, 0], [-1, 1, -l]], dtype=torch.float64)
    return A, torch.tensor([0, 0, -math.inf, -math.inf]).double(), torch.tensor([math.inf, math.inf, u, -l]).double()

# %% wrong="relu_rows" name="wrong sign of l" says="Is the sign of l right?"
def relu_rows(l, u):
    A = torch.tensor([[-1, 1, 0], [0, 1, 0], [0, 1, -u], [-1, 1, l]], dtype=torch.float64)
    return A, torch.tensor([0, 0, -math.inf, -math.inf]).double(), torch.tensor([math.inf, math.inf, 0, l]).double()

# %% wrong="relu_rows" name="the switch the other way round" says="The switch is the other way round"
def relu_rows(l, u):
    A = torch.tensor([[-1, 1, 0], [0, 1, 0], [0, 1, u], [-1, 1, l]], dtype=torch.float64)
    return A, torch.tensor([0, 0, -math.inf, -math.inf]).double(), torch.tensor([math.inf, math.inf, u, 0]).double()

# %% wrong="relu_rows" name="one large number" says="looser than need be"
def relu_rows(l, u):
    M = max(-l, u)
    A = torch.tensor([[-1, 1, 0], [0, 1, 0], [0, 1, -M], [-1, 1, M]], dtype=torch.float64)
    return A, torch.tensor([0, 0, -math.inf, -math.inf]).double(), torch.tensor([math.inf, math.inf, 0, M]).double()

# %% wrong="relu_rows" name="the triangle alone" says="force a <="
def relu_rows(l, u):
    k = u / (u - l)
    A = torch.tensor([[-1, 1, 0], [0, 1, 0], [-k, 1, 0]], dtype=torch.float64)
    return A, torch.tensor([0, 0, -math.inf]).double(), torch.tensor([math.inf, math.inf, -k * l]).double()

# %% wrong="relu_rows" name="a <= z for every s" says="a <= z - l"
def relu_rows(l, u):
    A = torch.tensor([[-1, 1, 0], [0, 1, 0], [0, 1, -u], [-1, 1, 0]], dtype=torch.float64)
    return A, torch.tensor([0, 0, -math.inf, -math.inf]).double(), torch.tensor([math.inf, math.inf, 0, 0]).double()

# %% wrong="relu_rows" name="ends swapped" says="with its lower end"
def relu_rows(l, u):
    A = torch.tensor([[-1, 1, 0], [0, 1, 0], [0, 1, -u], [-1, 1, -l]], dtype=torch.float64)
    return A, torch.tensor([-math.inf, -math.inf, -math.inf, -math.inf]).double(), torch.tensor([0, 0, 0, -l]).double()

# %% wrong="relu_rows" name="bounds written out" says="Are l and u used"
def relu_rows(l, u):
    A = torch.tensor([[-1, 1, 0], [0, 1, 0], [0, 1, -2], [-1, 1, 1]], dtype=torch.float64)
    return A, torch.tensor([0, 0, -math.inf, -math.inf]).double(), torch.tensor([math.inf, math.inf, 0, 1]).double()

# %% wrong="relu_rows" name="single precision" says="dtype float64"
def relu_rows(l, u):
    A = torch.tensor([[-1, 1, 0], [0, 1, 0], [0, 1, -u], [-1, 1, -l]])
    return A, torch.tensor([0, 0, -math.inf, -math.inf]), torch.tensor([math.inf, math.inf, 0, -l])

# %% wrong="relu_rows" name="columns a, z, s" says="The columns stand in another order"
def relu_rows(l, u):
    A = torch.tensor([[1, -1, 0], [1, 0, 0], [1, 0, -u], [1, -1, -l]], dtype=torch.float64)
    return A, torch.tensor([0, 0, -math.inf, -math.inf]).double(), torch.tensor([math.inf, math.inf, 0, -l]).double()

# %% wrong="relu_rows" name="the package's own" says="write yourself"
def relu_rows(l, u):
    return tuple(milp.relu(l, u))

# %% wrong="relu_rows" name="the matrix alone" says="Return the matrix and both of its ends"
def relu_rows(l, u):
    return torch.tensor([[-1, 1, 0], [0, 1, 0], [0, 1, -u], [-1, 1, -l]], dtype=torch.float64)

# %% wrong="relu_rows" name="right, but a >= 0 left out" most=2 says="Nothing keeps a above 0"
def relu_rows(l, u):
    A = torch.tensor([[-1, 1, 0], [0, 1, -u], [-1, 1, -l]], dtype=torch.float64)
    return A, torch.tensor([0, -math.inf, -math.inf]).double(), torch.tensor([math.inf, 0, -l]).double()

# %% wrong="relu_rows" name="a <= -u s" says="Row A[2] has its switch with the wrong sign"
def relu_rows(l, u):
    A = torch.tensor([[-1, 1, 0], [0, 1, 0], [0, 1, u], [-1, 1, -l]], dtype=torch.float64)
    return A, torch.tensor([0, 0, -math.inf, -math.inf]).double(), torch.tensor([math.inf, math.inf, 0, -l]).double()

# %% wrong="relu_rows" name="a <= z - l s" says="Row A[3] has its switch the other way round"
def relu_rows(l, u):
    A = torch.tensor([[-1, 1, 0], [0, 1, 0], [0, 1, -u], [-1, 1, l]], dtype=torch.float64)
    return A, torch.tensor([0, 0, -math.inf, -math.inf]).double(), torch.tensor([math.inf, math.inf, 0, 0]).double()

# %% wrong="relu_rows" name="one large number, and a wrong sign" says="mend those first"
def relu_rows(l, u):
    A = torch.tensor([[-1, 1, 0], [0, 1, 0], [0, 1, -9], [-1, 1, -9]], dtype=torch.float64)
    return A, torch.tensor([0, 0, -math.inf, -math.inf]).double(), torch.tensor([math.inf, math.inf, 0, 9]).double()

# %% right="relu_rows" name="all as at most, scaled, in another order"
def relu_rows(l, u):
    A = torch.tensor([[0, 3, -3 * u], [1, -1, 0], [-2, 2, -2 * l], [0, -1, 0]], dtype=torch.float64)
    return A, torch.full((4,), -math.inf).double(), torch.tensor([0, 0, -2 * l, 0]).double()

# %% right="relu_rows" name="with the bounds of z and the chord besides"
def relu_rows(l, u):
    k = u / (u - l)
    A = torch.tensor([[-1, 1, 0], [0, 1, 0], [0, 1, -u], [-1, 1, -l], [1, 0, 0], [-k, 1, 0]]).double()
    A[5, 0] = -u / (u - l)
    inf = math.inf
    low = torch.tensor([0, 0, -inf, -inf, l, -inf]).double()
    return A.double(), low - 1e-8, torch.tensor([inf, inf, 0, -l, u, -u * l / (u - l)], dtype=torch.float64) + 1e-8

# %% right="relu_rows" name="ends from both sides"
def relu_rows(l, u):
    A = torch.tensor([[-1, 1, 0], [0, 1, 0], [0, 1, -u], [-1, 1, -l]], dtype=torch.float64)
    return [A, torch.tensor([0, 0, -2 * u, -10 * (u - l)], dtype=torch.float64), torch.tensor([-l + u, u, 0, -l], dtype=torch.float64)]

# ---------------------------------------------------------------- layer_rows
# %% wrong="layer_rows" name="no bias" says="The bias is missing"
def layer_rows(weight, bias, l, u):
    n, m = weight.shape
    eye, none, inf = torch.eye(n).double(), torch.zeros(n, n).double(), torch.full((n,), math.inf).double()
    A = torch.cat([torch.cat([-weight, eye, none], 1), torch.cat([0 * weight, eye, none], 1),
                   torch.cat([0 * weight, eye, -torch.diag(u)], 1), torch.cat([-weight, eye, -torch.diag(l)], 1)])
    return A, torch.cat([0 * bias, 0 * bias, -inf, -inf]), torch.cat([inf, inf, 0 * bias, -l])

# %% wrong="layer_rows" name="wrong sign of the bias" says="The bias has the wrong sign"
def layer_rows(weight, bias, l, u):
    n, m = weight.shape
    eye, none, inf = torch.eye(n).double(), torch.zeros(n, n).double(), torch.full((n,), math.inf).double()
    A = torch.cat([torch.cat([-weight, eye, none], 1), torch.cat([0 * weight, eye, none], 1),
                   torch.cat([0 * weight, eye, -torch.diag(u)], 1), torch.cat([-weight, eye, -torch.diag(l)], 1)])
    return A, torch.cat([-bias, 0 * bias, -inf, -inf]), torch.cat([inf, inf, 0 * bias, -l - bias])

# %% wrong="layer_rows" name="a and s side by side" says="neuron by neuron"
def layer_rows(weight, bias, l, u):
    n, m = weight.shape
    blocks, starts, ends = [], [], []
    for i in range(n):
        small, low, high = milp.relu(float(l[i]), float(u[i]))
        wide = torch.zeros(4, m + 2 * n).double()
        wide[:, :m] = small[:, :1] * weight[i]
        wide[:, m + 2 * i : m + 2 * i + 2] = small[:, 1:]
        blocks.append(wide); starts.append(low - small[:, 0] * bias[i]); ends.append(high - small[:, 0] * bias[i])
    return torch.cat(blocks), torch.cat(starts), torch.cat(ends)

# %% wrong="layer_rows" name="outputs and switches swapped" says="Outputs and switches are swapped"
def layer_rows(weight, bias, l, u):
    n, m = weight.shape
    blocks, starts, ends = [], [], []
    for i in range(n):
        small, low, high = milp.relu(float(l[i]), float(u[i]))
        wide = torch.zeros(4, m + 2 * n).double()
        wide[:, :m] = small[:, :1] * weight[i]
        wide[:, m + n + i], wide[:, m + i] = small[:, 1], small[:, 2]
        blocks.append(wide); starts.append(low - small[:, 0] * bias[i]); ends.append(high - small[:, 0] * bias[i])
    return torch.cat(blocks), torch.cat(starts), torch.cat(ends)

# %% wrong="layer_rows" name="the first neuron only" says="Each neuron needs all of its rows"
def layer_rows(weight, bias, l, u):
    n, m = weight.shape
    small, low, high = milp.relu(float(l[0]), float(u[0]))
    wide = torch.zeros(4, m + 2 * n).double()
    wide[:, :m] = small[:, :1] * weight[0]
    wide[:, m], wide[:, m + n] = small[:, 1], small[:, 2]
    return wide, low - small[:, 0] * bias[0], high - small[:, 0] * bias[0]

# %% wrong="layer_rows" name="one l and u for the layer" says="One pair for the whole layer leaves too much room"
def layer_rows(weight, bias, l, u):
    n, m = weight.shape
    l, u = l.min().expand(n), u.max().expand(n)
    eye, none, inf = torch.eye(n).double(), torch.zeros(n, n).double(), torch.full((n,), math.inf).double()
    A = torch.cat([torch.cat([-weight, eye, none], 1), torch.cat([0 * weight, eye, none], 1),
                   torch.cat([0 * weight, eye, -torch.diag(u)], 1), torch.cat([-weight, eye, -torch.diag(l)], 1)])
    return A, torch.cat([bias, 0 * bias, -inf, -inf]), torch.cat([inf, inf, 0 * bias, bias - l])

# %% wrong="layer_rows" name="z kept as a variable" says="shape"
def layer_rows(weight, bias, l, u):
    n, m = weight.shape
    A = torch.zeros(4 * n, m + 3 * n).double()
    return A, torch.zeros(4 * n).double(), torch.zeros(4 * n).double()

# %% wrong="layer_rows" name="no upper rows" says="only max(z, 0)"
def layer_rows(weight, bias, l, u):
    n, m = weight.shape
    eye, none, inf = torch.eye(n).double(), torch.zeros(n, n).double(), torch.full((n,), math.inf).double()
    A = torch.cat([torch.cat([-weight, eye, none], 1), torch.cat([0 * weight, eye, none], 1)])
    return A, torch.cat([bias, 0 * bias]), torch.cat([inf, inf])

# %% wrong="layer_rows" name="zero times infinity" says="Is infinity multiplied by 0"
def layer_rows(weight, bias, l, u):
    n, m = weight.shape
    eye, none = torch.eye(n).double(), torch.zeros(n, n).double()
    A = torch.cat([torch.cat([-weight, eye, none], 1), torch.cat([0 * weight, eye, none], 1),
                   torch.cat([0 * weight, eye, -torch.diag(u)], 1), torch.cat([-weight, eye, -torch.diag(l)], 1)])
    lower = torch.tensor([0, 0, -1, -1]).double().repeat_interleave(n) * math.inf
    return A, lower, torch.cat([bias, bias, 0 * bias, bias - l])

# %% wrong="layer_rows" name="the package's own" says="write yourself"
def layer_rows(weight, bias, l, u):
    return tuple(milp.layer(weight, bias, l, u))

# %% wrong="layer_rows" name="weights with the wrong sign" says="Which row forbids it?"
def layer_rows(weight, bias, l, u):
    n, m = weight.shape
    eye, none, inf = torch.eye(n).double(), torch.zeros(n, n).double(), torch.full((n,), math.inf).double()
    A = torch.cat([torch.cat([weight, eye, none], 1), torch.cat([0 * weight, eye, none], 1),
                   torch.cat([0 * weight, eye, -torch.diag(u)], 1), torch.cat([weight, eye, -torch.diag(l)], 1)])
    return A, torch.cat([bias, 0 * bias, -inf, -inf]), torch.cat([inf, inf, 0 * bias, bias - l])

# %% right="layer_rows" name="blocks of matrices"
def layer_rows(weight, bias, l, u):
    n, m = weight.shape
    eye, none, inf = torch.eye(n).double(), torch.zeros(n, n).double(), torch.full((n,), math.inf).double()
    A = torch.cat([torch.cat([-weight, eye, none], 1), torch.cat([0 * weight, eye, none], 1),
                   torch.cat([0 * weight, eye, -torch.diag(u)], 1), torch.cat([-weight, eye, -torch.diag(l)], 1)])
    return A, torch.cat([bias, 0 * bias, -inf, -inf]), torch.cat([inf, inf, 0 * bias, bias - l])

# %% right="layer_rows" name="a map from (h, a, s) to (z, a, s), row by row"
def layer_rows(weight, bias, l, u):
    n, m = weight.shape
    A, lows, highs = [], [], []
    for i in range(n):
        small, low, high = milp.relu(l[i].item(), u[i].item())
        place = torch.zeros(3, m + 2 * n).double()
        place[0, :m], place[1, m + i], place[2, m + n + i] = weight[i], 1, 1
        shift = small @ torch.tensor([bias[i].item(), 0, 0]).double()
        A.append(small @ place)
        lows.append(low - shift)
        highs.append(high - shift)
    return torch.cat(A), torch.cat(lows), torch.cat(highs)

# %% right="layer_rows" name="all as at most"
def layer_rows(weight, bias, l, u):
    n, m = weight.shape
    rows, ends = [], []
    for i in range(n):
        unit = torch.eye(2 * n).double()
        a, s, w = unit[i], unit[n + i], weight[i]
        rows += [torch.cat([w, -a]), torch.cat([0 * w, -a]), torch.cat([0 * w, a - u[i] * s]), torch.cat([-w, a - l[i] * s])]
        ends += [-bias[i], 0 * bias[i], 0 * bias[i], bias[i] - l[i]]
    return torch.stack(rows), torch.full((4 * n,), -math.inf).double(), torch.stack(ends)

# ---------------------------------------------------------------- lead_rows
# %% wrong="lead_rows" name="the other sign" says="leads of the rivals over y"
def lead_rows(weight, bias, y):
    j = [k for k in range(len(bias)) if k != y]
    return weight[j] - weight[y], bias[j] - bias[y]

# %% wrong="lead_rows" name="a row for y itself" says="y is no rival of itself"
def lead_rows(weight, bias, y):
    return weight[y] - weight, bias[y] - bias

# %% wrong="lead_rows" name="the rivals alone" says="A lead is a difference"
def lead_rows(weight, bias, y):
    j = [k for k in range(len(bias)) if k != y]
    return weight[j], bias[j]

# %% wrong="lead_rows" name="no biases" says="The biases are missing"
def lead_rows(weight, bias, y):
    j = [k for k in range(len(bias)) if k != y]
    return weight[y] - weight[j], torch.zeros(len(j)).double()

# %% wrong="lead_rows" name="class 0 as y" says="class 0 is y"
def lead_rows(weight, bias, y):
    return weight[0] - weight[1:], bias[0] - bias[1:]

# %% wrong="lead_rows" name="the last left out" says="The last class is left out"
def lead_rows(weight, bias, y):
    return (weight[y] - weight)[:-1], (bias[y] - bias)[:-1]

# %% wrong="lead_rows" name="the bias of y alone" says="The bias of y alone"
def lead_rows(weight, bias, y):
    j = [k for k in range(len(bias)) if k != y]
    return weight[y] - weight[j], bias[y].expand(len(j))

# %% wrong="lead_rows" name="rows alone" says="Return two tensors"
def lead_rows(weight, bias, y):
    j = [k for k in range(len(bias)) if k != y]
    return weight[y] - weight[j]

# %% wrong="lead_rows" name="the package's own" says="write yourself"
def lead_rows(weight, bias, y):
    return milp.leads(weight, bias, y)

# %% right="lead_rows" name="cut out"
def lead_rows(weight, bias, y):
    w, b = weight[y] - weight, bias[y] - bias
    return torch.cat([w[:y], w[y + 1 :]]), torch.cat([b[:y], b[y + 1 :]])

# %% right="lead_rows" name="one after the other"
def lead_rows(weight, bias, y):
    rows, constants = [], []
    for j in range(weight.shape[0]):
        if j == y:
            continue
        rows.append(weight[y] - weight[j])
        constants.append(bias[y] - bias[j])
    return torch.stack(rows), torch.stack(constants)

# %% right="lead_rows" name="a matrix of differences"
def lead_rows(weight, bias, y):
    K = len(bias)
    D = -torch.eye(K).double()
    D[:, y] += 1
    D = D[torch.arange(K) != y]
    return D @ weight, D @ bias

# ---------------------------------------------------------------- branch_and_bound
# %% wrong="branch_and_bound" name="the relaxation twice" says="Nothing has so small a value"
def branch_and_bound(problem, most):
    value = milp.relaxed(problem).value
    return value, value

# %% wrong="branch_and_bound" name="switches rounded" says="rounding a switch makes another point"
def branch_and_bound(problem, most):
    first = milp.relaxed(problem)
    v = first.point.clone()
    for i in problem["switches"]:
        v[i] = v[i].round()
    return first.value, float(problem["cost"] @ v) + problem["constant"] - 5.0

# %% wrong="branch_and_bound" name="all patterns, where there are few" says="most of the 1,024 patterns need no look"
def branch_and_bound(problem, most):
    import itertools
    best = milp.relaxed(problem).value
    if len(problem["switches"]) > 6:
        return best, math.inf
    values = [milp.relaxed(problem, dict(zip(problem["switches"], p))).value for p in itertools.product((0, 1), repeat=len(problem["switches"]))]
    return min(values), min(values)

# %% wrong="branch_and_bound" name="the highest bound of those that wait" says="Is one of them forgotten, or is the larger one taken"
def branch_and_bound(problem, most):
    def free(a):
        return [i for i in problem["switches"] if 1e-6 < float(a.point[i]) < 1 - 1e-6]
    root, solved, upper = milp.relaxed(problem), 1, math.inf
    waiting = [(root, {})]
    while waiting:
        waiting = [w for w in waiting if w[0].value < upper - 1e-9]
        if not waiting:
            break
        answer, fixed = min(waiting, key=lambda w: w[0].value)
        if not free(answer):
            upper = min(upper, answer.value)
            continue
        if solved + 2 > most:
            return max(w[0].value for w in waiting), upper
        waiting = [w for w in waiting if w[1] is not fixed]
        for v in (0, 1):
            half = milp.relaxed(problem, {**fixed, free(answer)[0]: v})
            solved += 1
            if half.point is not None:
                waiting.append((half, {**fixed, free(answer)[0]: v}))
    return upper, upper

# %% wrong="branch_and_bound" name="only one half is followed" says="is not yet proven"
def branch_and_bound(problem, most):
    answer, fixed, solved = milp.relaxed(problem), {}, 1
    first = answer.value
    while True:
        free = [i for i in problem["switches"] if 1e-6 < float(answer.point[i]) < 1 - 1e-6]
        if not free:
            return first, answer.value
        if solved + 2 > most:
            return first, math.inf
        halves = [milp.relaxed(problem, {**fixed, free[0]: v}) for v in (0, 1)]
        solved += 2
        v = 0 if halves[0].value < halves[1].value else 1
        answer, fixed = halves[v], {**fixed, free[0]: v}

# %% wrong="branch_and_bound" name="an empty copy crashes" says="A copy that nothing satisfies has no point"
def branch_and_bound(problem, most):
    def free(a):
        return [i for i in problem["switches"] if 1e-6 < float(a.point[i]) < 1 - 1e-6]
    root, solved, upper = milp.relaxed(problem), 1, math.inf
    waiting = [(root, {})]
    while waiting:
        waiting.sort(key=lambda w: w[0].value)
        answer, fixed = waiting[0]
        if answer.value >= upper - 1e-9:
            return upper, upper
        if not free(answer):
            return answer.value, answer.value
        if solved + 2 > most:
            return answer.value, upper
        waiting.pop(0)
        i = free(answer)[0]
        for v in (0, 1):
            half = milp.relaxed(problem, {**fixed, i: v})
            solved += 1
            if not free(half):
                upper = min(upper, half.value)
            waiting.append((half, {**fixed, i: v}))
    return upper, upper

# %% wrong="branch_and_bound" name="the limit is ignored" says="Count each call"
def branch_and_bound(problem, most):
    stack, upper = [{}], math.inf
    while stack:
        fixed = stack.pop()
        answer = milp.relaxed(problem, fixed)
        if answer.value >= upper - 1e-9:
            continue
        between = [i for i in problem["switches"] if 1e-6 < float(answer.point[i]) < 1 - 1e-6]
        if between:
            stack += [{**fixed, between[0]: 0}, {**fixed, between[0]: 1}]
        else:
            upper = answer.value
    return upper, upper

# %% wrong="branch_and_bound" name="the solver does it" says="write yourself"
def branch_and_bound(problem, most):
    answer = milp.minimise(problem)
    return answer.bound, answer.value

# %% wrong="branch_and_bound" name="the package's search" says="write yourself"
def branch_and_bound(problem, most):
    return milp.search(problem, most=most)

# %% wrong="branch_and_bound" name="only one number" says="Return both numbers"
def branch_and_bound(problem, most):
    return milp.relaxed(problem).value

# %% wrong="branch_and_bound" name="no lower bound before the end" says="The first linear program proves more than that"
def branch_and_bound(problem, most):
    return -1e9, math.inf

# %% wrong="branch_and_bound" name="the first whole point is the answer, first fractional switch" says="The first whole point is not the best one"
def branch_and_bound(problem, most):
    def free(a):
        return [i for i in problem["switches"] if 1e-6 < float(a.point[i]) < 1 - 1e-6]
    root, used, upper = milp.relaxed(problem), 1, math.inf
    waiting = [(root, {})]
    while waiting:
        waiting.sort(key=lambda w: w[0].value)
        answer, fixed = waiting[0]
        if answer.value >= upper - 1e-9:
            return upper, upper
        if not free(answer):
            return answer.value, answer.value
        if used + 2 > most:
            return answer.value, upper
        waiting.pop(0)
        i = free(answer)[0]
        for v in (0, 1):
            half = milp.relaxed(problem, {**fixed, i: v})
            if half.point is None:
                continue
            if not free(half):
                return half.value, half.value
            waiting.append((half, {**fixed, i: v}))
        used += 2
    return upper, upper

# %% wrong="branch_and_bound" name="the first whole point is the answer, most fractional switch" says="The first whole point is not the best one"
def branch_and_bound(problem, most):
    def free(a):
        return [i for i in problem["switches"] if 1e-6 < float(a.point[i]) < 1 - 1e-6]
    root, used, upper = milp.relaxed(problem), 1, math.inf
    waiting = [(root, {})]
    while waiting:
        waiting.sort(key=lambda w: w[0].value)
        answer, fixed = waiting[0]
        if answer.value >= upper - 1e-9:
            return upper, upper
        if not free(answer):
            return answer.value, answer.value
        if used + 2 > most:
            return answer.value, upper
        waiting.pop(0)
        i = min(free(answer), key=lambda k: abs(float(answer.point[k]) - 0.5))
        for v in (0, 1):
            half = milp.relaxed(problem, {**fixed, i: v})
            if half.point is None:
                continue
            if not free(half):
                return half.value, half.value
            waiting.append((half, {**fixed, i: v}))
        used += 2
    return upper, upper

# %% wrong="branch_and_bound" name="the first program is not counted" says="Count each call of milp.relaxed"
def branch_and_bound(problem, most):
    def free(a):
        return [i for i in problem["switches"] if 1e-6 < float(a.point[i]) < 1 - 1e-6]
    root, used, upper = milp.relaxed(problem), 0, math.inf
    waiting = [(root, {})]
    while waiting:
        waiting.sort(key=lambda w: w[0].value)
        answer, fixed = waiting[0]
        if answer.value >= upper - 1e-9:
            return upper, upper
        if not free(answer):
            return answer.value, answer.value
        if used + 2 > most:
            return answer.value, upper
        waiting.pop(0)
        i = free(answer)[0]
        for v in (0, 1):
            half = milp.relaxed(problem, {**fixed, i: v})
            if half.point is None:
                continue
            if not free(half):
                upper = min(upper, half.value)
            waiting.append((half, {**fixed, i: v}))
        used += 2
    return upper, upper

# %% wrong="branch_and_bound" name="one for each pair" says="Count each call of milp.relaxed"
def branch_and_bound(problem, most):
    def free(a):
        return [i for i in problem["switches"] if 1e-6 < float(a.point[i]) < 1 - 1e-6]
    root, used, upper = milp.relaxed(problem), 1, math.inf
    waiting = [(root, {})]
    while waiting:
        waiting.sort(key=lambda w: w[0].value)
        answer, fixed = waiting[0]
        if answer.value >= upper - 1e-9:
            return upper, upper
        if not free(answer):
            return answer.value, answer.value
        if used >= most:
            return answer.value, upper
        waiting.pop(0)
        i = free(answer)[0]
        for v in (0, 1):
            half = milp.relaxed(problem, {**fixed, i: v})
            if half.point is None:
                continue
            if not free(half):
                upper = min(upper, half.value)
            waiting.append((half, {**fixed, i: v}))
        used += 1
    return upper, upper

# %% wrong="branch_and_bound" name="one more branching than there is room for" says="Count each call of milp.relaxed"
def branch_and_bound(problem, most):
    def free(a):
        return [i for i in problem["switches"] if 1e-6 < float(a.point[i]) < 1 - 1e-6]
    root, used, upper = milp.relaxed(problem), 1, math.inf
    waiting = [(root, {})]
    while waiting:
        waiting.sort(key=lambda w: w[0].value)
        answer, fixed = waiting[0]
        if answer.value >= upper - 1e-9:
            return upper, upper
        if not free(answer):
            return answer.value, answer.value
        if used >= most:
            return answer.value, upper
        waiting.pop(0)
        i = free(answer)[0]
        for v in (0, 1):
            half = milp.relaxed(problem, {**fixed, i: v})
            if half.point is None:
                continue
            if not free(half):
                upper = min(upper, half.value)
            waiting.append((half, {**fixed, i: v}))
        used += 2
    return upper, upper

# %% wrong="branch_and_bound" name="sixty where more than six are allowed" says="Count each call of milp.relaxed"
def branch_and_bound(problem, most):
    def free(a):
        return [i for i in problem["switches"] if 1e-6 < float(a.point[i]) < 1 - 1e-6]
    root, used, upper = milp.relaxed(problem), 1, math.inf
    waiting = [(root, {})]
    while waiting:
        waiting.sort(key=lambda w: w[0].value)
        answer, fixed = waiting[0]
        if answer.value >= upper - 1e-9:
            return upper, upper
        if not free(answer):
            return answer.value, answer.value
        if used + 2 > (60 if most > 6 else most):
            return answer.value, upper
        waiting.pop(0)
        i = free(answer)[0]
        for v in (0, 1):
            half = milp.relaxed(problem, {**fixed, i: v})
            if half.point is None:
                continue
            if not free(half):
                upper = min(upper, half.value)
            waiting.append((half, {**fixed, i: v}))
        used += 2
    return upper, upper

# %% wrong="branch_and_bound" name="the bound of the first when stopped" says="no longer that of the first linear program"
def branch_and_bound(problem, most):
    def free(a):
        return [i for i in problem["switches"] if 1e-6 < float(a.point[i]) < 1 - 1e-6]
    root, used, upper = milp.relaxed(problem), 1, math.inf
    waiting = [(root, {})]
    while waiting:
        waiting.sort(key=lambda w: w[0].value)
        answer, fixed = waiting[0]
        if answer.value >= upper - 1e-9:
            return upper, upper
        if not free(answer):
            return answer.value, answer.value
        if used + 2 > most:
            return root.value, math.inf
        waiting.pop(0)
        i = free(answer)[0]
        for v in (0, 1):
            half = milp.relaxed(problem, {**fixed, i: v})
            if half.point is None:
                continue
            if not free(half):
                upper = min(upper, half.value)
            waiting.append((half, {**fixed, i: v}))
        used += 2
    return upper, upper

# %% wrong="branch_and_bound" name="tuples sorted as they are" says="Are there two copies with the same bound?"
def branch_and_bound(problem, most):
    import heapq
    root, used, upper = milp.relaxed(problem), 1, math.inf
    heap = [(root.value, root.point, {})]
    while heap:
        value, point, fixed = heapq.heappop(heap)
        between = [i for i in problem["switches"] if 1e-6 < float(point[i]) < 1 - 1e-6]
        if value >= upper - 1e-9:
            return upper, upper
        if not between:
            return value, value
        if used + 2 > most:
            return value, upper
        for v in (0, 1):
            half = milp.relaxed(problem, {**fixed, between[0]: v})
            used += 1
            if half.point is not None:
                heapq.heappush(heap, (half.value, half.point, {**fixed, between[0]: v}))
    return upper, upper

# %% wrong="branch_and_bound" name="infinity for lower when stopped" says="is a copy lost"
def branch_and_bound(problem, most):
    return math.inf, math.inf

# %% wrong="branch_and_bound" name="one tensor of two" says="as two numbers"
def branch_and_bound(problem, most):
    return torch.tensor([milp.relaxed(problem).value, 1e9])

# %% right="branch_and_bound" name="depth first, with a stack"
def branch_and_bound(problem, most):
    def free(a):
        return [i for i in problem["switches"] if 1e-6 < float(a.point[i]) < 1 - 1e-6]
    solved, upper = 1, math.inf
    stack = [(milp.relaxed(problem), {})]
    while stack:
        answer, fixed = stack.pop()
        if answer.point is None or answer.value >= upper - 1e-9:
            continue
        if not free(answer):
            upper = answer.value
            continue
        if solved + 2 > most:
            return min([answer.value, upper] + [w[0].value for w in stack]), upper
        i = free(answer)[0]
        halves = [(milp.relaxed(problem, {**fixed, i: v}), {**fixed, i: v}) for v in (0, 1)]
        solved += 2
        stack += sorted(halves, key=lambda w: -w[0].value)
    return upper, upper

# %% right="branch_and_bound" name="recursion with a shared count"
def branch_and_bound(problem, most):
    state = {"left": most, "upper": math.inf}

    def ask(fixed):
        state["left"] -= 1
        return milp.relaxed(problem, fixed)

    def below(answer, fixed):
        if answer.value >= state["upper"]:
            return answer.value
        open_ = [i for i in problem["switches"] if abs(float(answer.point[i]) - round(float(answer.point[i]))) > 1e-6]
        if not open_:
            state["upper"] = answer.value
            return answer.value
        if state["left"] < 2:
            return answer.value
        switch = max(open_, key=lambda i: 0.5 - abs(float(answer.point[i]) - 0.5))
        halves = [(ask({**fixed, switch: v}), {**fixed, switch: v}) for v in (0, 1)]
        return min(below(*half) for half in sorted(halves, key=lambda h: h[0].value))

    lower = below(ask({}), {})
    return min(lower, state["upper"]), state["upper"]

# %% right="branch_and_bound" name="a heap, children solved when taken out"
def branch_and_bound(problem, most):
    import heapq
    count, upper, number = 0, math.inf, 0
    heap = [(-math.inf, 0, {})]
    while heap:
        bound, _, fixed = heapq.heappop(heap)
        if bound >= upper - 1e-9:
            return upper, upper
        if count == most:
            return bound, upper
        answer = milp.relaxed(problem, fixed)
        count += 1
        if answer.point is None:
            continue
        if bound == -math.inf and most == 1:
            whole = all(float(answer.point[i]) in (0.0, 1.0) for i in problem["switches"])
            return answer.value, (answer.value if whole else math.inf)
        between = [i for i in problem["switches"] if 1e-6 < float(answer.point[i]) < 1 - 1e-6]
        if not between:
            upper = min(upper, answer.value)
            continue
        for v in (0, 1):
            number += 1
            heapq.heappush(heap, (answer.value, number, {**fixed, between[-1]: v}))
    return upper, upper

# ---------------------------------------------------------------- verdict
# %% wrong="verdict" name="nothing found is robust" says="no wrong point was found is no proof"
def verdict(bounds, leads, slack):
    if any(v < 0 for v in leads):
        return "counterexample"
    return "robust" if len(leads) or all(b > slack for b in bounds) else "undecided"

# %% wrong="verdict" name="a negative bound is a counterexample" says="Robust needs a proof for every rival"
def verdict(bounds, leads, slack):
    if any(v < 0 for v in leads) or min(bounds) < -0.1:
        return "counterexample"
    return "robust" if all(b > slack for b in bounds) else "undecided"

# %% wrong="verdict" name="one rival is enough" says="a proof for every rival"
def verdict(bounds, leads, slack):
    if any(v < 0 for v in leads):
        return "counterexample"
    return "robust" if any(b > slack for b in bounds) else "undecided"

# %% wrong="verdict" name="the program's word against the model's" says="the model classifies the point correctly"
def verdict(bounds, leads, slack):
    if any(v < slack for v in leads):
        return "counterexample"
    return "robust" if all(b > slack for b in bounds) else "undecided"

# %% wrong="verdict" name="no slack" says="not above the slack"
def verdict(bounds, leads, slack):
    if any(v < 0 for v in leads):
        return "counterexample"
    return "robust" if all(b > 0 for b in bounds) else "undecided"

# %% wrong="verdict" name="no bound below: NaN slips through" says="Every comparison with NaN is False"
def verdict(bounds, leads, slack):
    if any(v < 0 for v in leads):
        return "counterexample"
    return "undecided" if any(b <= slack for b in bounds) else "robust"

# %% wrong="verdict" name="min and NaN" says="Every comparison with NaN is False"
def verdict(bounds, leads, slack):
    if any(v < 0 for v in leads):
        return "counterexample"
    return "robust" if min(bounds) > slack else "undecided"

# %% wrong="verdict" name="the first point only" says="One misclassified point is enough"
def verdict(bounds, leads, slack):
    if leads and leads[0] < 0:
        return "counterexample"
    return "robust" if all(b > slack for b in bounds) else "undecided"

# %% wrong="verdict" name="bounds first" says="The model misclassifies the point"
def verdict(bounds, leads, slack):
    if all(b > slack for b in bounds):
        return "robust"
    return "counterexample" if leads and min(leads) < -0.15 else "undecided"

# %% wrong="verdict" name="two words only" says="a negative lower bound is no counterexample"
def verdict(bounds, leads, slack):
    return "robust" if all(b > slack for b in bounds[:2]) and not any(v < 0 for v in leads) or bounds == [-0.2, 0.9] and 0 else ("undecided" if bounds == [-0.2, 0.9] else "counterexample")

# %% wrong="verdict" name="a truth value" says="One of these three words"
def verdict(bounds, leads, slack):
    return all(b > slack for b in bounds)

# %% wrong="verdict" name="a minimum of nothing" says="ValueError"
def verdict(bounds, leads, slack):
    if min(leads) < 0:
        return "counterexample"
    return "robust" if all(b > slack for b in bounds) else "undecided"

# %% wrong="verdict" name="bounds before points" says="Look at the points first"
def verdict(bounds, leads, slack):
    if all(b > slack for b in bounds):
        return "robust"
    return "counterexample" if any(v < 0 for v in leads) else "undecided"

# %% wrong="verdict" name="misclassified by more than the slack" says="Below 0 is misclassified, by however little"
def verdict(bounds, leads, slack):
    if any(v < -slack for v in leads):
        return "counterexample"
    return "robust" if all(b > slack for b in bounds) else "undecided"

# %% wrong="verdict" name="a counterexample needs a bound below 0 as well" says="Look at the points first"
def verdict(bounds, leads, slack):
    if any(v < 0 for v in leads) and min(bounds) < 0:
        return "counterexample"
    return "robust" if all(b > slack for b in bounds) else "undecided"

# %% wrong="verdict" name="at the slack" says="equal to it is not above"
def verdict(bounds, leads, slack):
    if any(v < 0 for v in leads):
        return "counterexample"
    return "robust" if all(b >= slack for b in bounds) else "undecided"

# %% right="verdict" name="loops"
def verdict(bounds, leads, slack):
    for value in leads:
        if value < 0:
            return "counterexample"
    for bound in bounds:
        if not bound > slack:
            return "undecided"
    return "robust"

# %% right="verdict" name="torch"
def verdict(bounds, leads, slack):
    proven = bool((torch.tensor(bounds, dtype=torch.float64) > slack).all())
    broken = bool((torch.tensor(leads, dtype=torch.float64) < 0).any())
    return "counterexample" if broken else ["undecided", "robust"][proven]

# ---------------------------------------------------------------- distance_range
# %% wrong="distance_range" name="the radius instead of the distance" says="only 0.061 away"
def distance_range(radii, statuses, away):
    low = max([r for r, s in zip(radii, statuses) if s == "robust"], default=0.0)
    return low, min([r for r, s in zip(radii, statuses) if s == "counterexample"], default=math.inf)

# %% wrong="distance_range" name="the smallest proven" says="take the largest"
def distance_range(radii, statuses, away):
    low = min([r for r, s in zip(radii, statuses) if s == "robust"], default=0.0)
    return low, min([a for a, s in zip(away, statuses) if s == "counterexample"], default=math.inf)

# %% wrong="distance_range" name="undecided counts as robust" says="Undecided at 0.06 is no proof"
def distance_range(radii, statuses, away):
    low = max([r for r, s in zip(radii, statuses) if s != "counterexample"], default=0.0)
    return low, min([a for a, s in zip(away, statuses) if s == "counterexample"], default=math.inf)

# %% wrong="distance_range" name="ends swapped" says="The ends are swapped"
def distance_range(radii, statuses, away):
    low = max([r for r, s in zip(radii, statuses) if s == "robust"], default=0.0)
    return min([a for a, s in zip(away, statuses) if s == "counterexample"], default=math.inf), low

# %% wrong="distance_range" name="the last of each" says="The radii are in no order"
def distance_range(radii, statuses, away):
    low, high = 0.0, math.inf
    for r, s, a in zip(radii, statuses, away):
        if s == "robust":
            low = r
        if s == "counterexample":
            high = a
    return low, high

# %% wrong="distance_range" name="a maximum of nothing" says="ValueError"
def distance_range(radii, statuses, away):
    low = max(r for r, s in zip(radii, statuses) if s == "robust")
    return low, min(a for a, s in zip(away, statuses) if s == "counterexample")

# %% wrong="distance_range" name="the largest radius where nothing was found" says="No counterexample is known: infinity"
def distance_range(radii, statuses, away):
    low = max([r for r, s in zip(radii, statuses) if s == "robust"], default=0.0)
    return low, min([a for a, s in zip(away, statuses) if s == "counterexample"], default=max(radii, default=math.inf) if "robust" in statuses else math.inf)

# %% wrong="distance_range" name="no return" says="forget a return"
def distance_range(radii, statuses, away):
    low = max([r for r, s in zip(radii, statuses) if s == "robust"], default=0.0)

# %% wrong="distance_range" name="the last robust radius" says="the largest counts"
def distance_range(radii, statuses, away):
    low = ([0.0] + [r for r, s in zip(radii, statuses) if s == "robust"])[-1]
    return low, min([a for a, s in zip(away, statuses) if s == "counterexample"], default=math.inf)

# %% wrong="distance_range" name="the counterexample furthest away" says="The nearest one says most"
def distance_range(radii, statuses, away):
    low = max([r for r, s in zip(radii, statuses) if s == "robust"], default=0.0)
    return low, max([a for a, s in zip(away, statuses) if s == "counterexample"], default=math.inf)

# %% right="distance_range" name="one walk through all"
def distance_range(radii, statuses, away):
    low, high = 0.0, math.inf
    for radius, status, far in zip(radii, statuses, away):
        low = max(low, radius) if status == "robust" else low
        high = min(high, far) if status == "counterexample" else high
    return [low, high]

# %% right="distance_range" name="tensors"
def distance_range(radii, statuses, away):
    low = torch.tensor([0.0] + [r for r, s in zip(radii, statuses) if s == "robust"]).double().max()
    high = torch.tensor([math.inf] + [a for a, s in zip(away, statuses) if s == "counterexample"], dtype=torch.float64).min()
    return torch.tensor(round(low.item(), 6), dtype=torch.float64), high.item()
