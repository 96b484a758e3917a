# Answers to assignment `rob1_questions` as students write them. Each cell stands in for one solution cell.
# wrong: must lose points, and `says` must appear in what the check shows. right: must get full points.

# ---------------------------------------------------------------- not_robust
# %% wrong="not_robust" name="closed ball" says="You take the closed ball"
def not_robust(x, jumps, eps):
    return ((x[:, None] - jumps).abs() <= eps).any(dim=1)

# %% wrong="not_robust" name="robust instead" says="Asked for is the opposite"
def not_robust(x, jumps, eps):
    return ~((x[:, None] - jumps).abs() < eps).any(dim=1)

# %% wrong="not_robust" name="to the right only" says="You look to the right only"
def not_robust(x, jumps, eps):
    gap = jumps - x[:, None]
    return ((gap > 0) & (gap < eps)).any(dim=1)

# %% wrong="not_robust" name="to the left only" says="You look to the left only"
def not_robust(x, jumps, eps):
    gap = x[:, None] - jumps
    return ((gap >= 0) & (gap < eps)).any(dim=1)

# %% wrong="not_robust" name="labels at both ends of the ball" says="In between they can change twice"
def not_robust(x, jumps, eps):
    def label(u):
        return (jumps <= u[:, None]).sum(dim=1) % 2
    return label(x - eps + 1e-9) != label(x + eps - 1e-9)

# %% wrong="not_robust" name="any over the wrong axis" says="reduce over the jumps"
def not_robust(x, jumps, eps):
    return ((x[:, None] - jumps).abs() < eps).any(dim=0)

# %% wrong="not_robust" name="a minimum of nothing" says="J = 0"
def not_robust(x, jumps, eps):
    return (x[:, None] - jumps).abs().min(dim=1).values < eps

# %% wrong="not_robust" name="all jumps" says="One is enough"
def not_robust(x, jumps, eps):
    return ((x[:, None] - jumps).abs() < eps).all(dim=1)

# %% wrong="not_robust" name="the first jump only" says="first jump only"
def not_robust(x, jumps, eps):
    return (x - jumps[0]).abs() < eps if len(jumps) else torch.zeros(len(x), dtype=torch.bool)

# %% wrong="not_robust" name="floats" says="booleans"
def not_robust(x, jumps, eps):
    return ((x[:, None] - jumps).abs() < eps).any(dim=1).float()

# %% wrong="not_robust" name="no return" says="forget a return"
def not_robust(x, jumps, eps):
    near = ((x[:, None] - jumps).abs() < eps).any(dim=1)

# %% wrong="not_robust" name="101 points of each ball are tried" says="Do you try some points of the ball?"
def not_robust(x, jumps, eps):
    def label(u):
        return (jumps <= u[..., None]).sum(dim=-1) % 2
    steps = eps * torch.linspace(-1, 1, 103, dtype=torch.float64)[1:-1]
    return (label(x[:, None] + steps) != label(x)[:, None]).any(dim=1)

# %% wrong="not_robust" name="the label at x + eps itself" says="that is not in the open ball"
def not_robust(x, jumps, eps):
    def label(u):
        return (jumps <= u[:, None]).sum(dim=1) % 2
    return label(x - eps) != label(x + eps)

# %% wrong="not_robust" name="one answer for all" says="One answer for each point"
def not_robust(x, jumps, eps):
    return ((x[:, None] - jumps).abs() < eps).any()

# %% wrong="not_robust" name="indices" says="A mask, not indices"
def not_robust(x, jumps, eps):
    return ((x[:, None] - jumps).abs() < eps).any(dim=1).nonzero()[:, 0]

# %% wrong="not_robust" name="all are robust" says="You find no point at all"
def not_robust(x, jumps, eps):
    return torch.zeros(len(x), dtype=torch.bool)

# %% right="not_robust" name="a loop over the points"
def not_robust(x, jumps, eps):
    out = []
    for u in x.tolist():
        out.append(any(abs(u - t) < eps for t in jumps.tolist()))
    return torch.tensor(out)

# %% right="not_robust" name="the two neighbours, by searching"
def not_robust(x, jumps, eps):
    padded = torch.cat([x.new_tensor([-math.inf]), jumps, x.new_tensor([math.inf])])
    place = torch.searchsorted(jumps, x, right=True)
    return (x - padded[place] < eps) | (padded[place + 1] - x < eps)

# %% right="not_robust" name="sum of hits"
def not_robust(x, jumps, eps):
    return torch.lt(torch.abs(jumps.unsqueeze(0) - x.unsqueeze(1)), eps).sum(1) > 0

# ---------------------------------------------------------------- halvings_needed
# %% wrong="halvings_needed" name="the ceiling of the logarithm" says="The ball is open"
def halvings_needed(distance, eps):
    return max(0, math.ceil(math.log2(distance / eps))) if distance else 0

# %% wrong="halvings_needed" name="natural logarithm" says="natural logarithm"
def halvings_needed(distance, eps):
    return 0 if distance < eps else math.floor(math.log(distance / eps)) + 1

# %% wrong="halvings_needed" name="the logarithm as it is" says="whole numbers"
def halvings_needed(distance, eps):
    return max(0.0, math.log2(distance / eps)) if distance else 0

# %% wrong="halvings_needed" name="the logarithm of zero" says="no logarithm of 0"
def halvings_needed(distance, eps):
    return max(0, math.floor(math.log2(distance / eps)) + 1)

# %% wrong="halvings_needed" name="negative" says="not negative"
def halvings_needed(distance, eps):
    return math.floor(math.log2(distance / eps)) + 1 if distance else 0

# %% wrong="halvings_needed" name="one too many" says="One too many"
def halvings_needed(distance, eps):
    k = 1
    while distance >= eps:
        distance /= 2
        k += 1
    return k

# %% wrong="halvings_needed" name="the ratio" says="each question halves"
def halvings_needed(distance, eps):
    return math.ceil(distance / eps)

# %% wrong="halvings_needed" name="closed loop" says="not below"
def halvings_needed(distance, eps):
    k = 0
    while distance > eps:
        distance, k = distance / 2, k + 1
    return k

# %% wrong="halvings_needed" name="the ratio, cut to a whole number" says="each question halves"
def halvings_needed(distance, eps):
    return int(distance / eps)

# %% wrong="halvings_needed" name="natural logarithm, the ceiling" says="natural logarithm"
def halvings_needed(distance, eps):
    return max(0, math.ceil(math.log(distance / eps))) if distance else 0

# %% right="halvings_needed" name="floor of the logarithm"
def halvings_needed(distance, eps):
    if distance < eps:
        return 0
    return math.floor(math.log2(distance / eps)) + 1

# %% right="halvings_needed" name="recursion, returns a tensor"
def halvings_needed(distance, eps):
    return torch.tensor(0) if distance < eps else 1 + halvings_needed(distance / 2, eps)

# %% right="halvings_needed" name="powers of two"
def halvings_needed(distance, eps):
    import itertools
    return next(k for k in itertools.count() if distance / 2**k < eps)

# ---------------------------------------------------------------- opposite_pair
# %% wrong="opposite_pair" name="the label is asked for again each time" says="Is a label asked for twice"
def opposite_pair(f, a, b, eps, p):
    while torch.linalg.vector_norm(a - b, ord=p) >= eps:
        middle = (a + b) / 2
        if f(middle) == f(a):
            a = middle
        else:
            b = middle
    return a, b

# %% wrong="opposite_pair" name="a walk in small steps" says="Is a label asked for twice"
def opposite_pair(f, a, b, eps, p):
    steps = int(torch.linalg.vector_norm(a - b, ord=p) / eps) + 2
    last, label = a, f(a)
    for i in range(1, steps + 1):
        point = a + (b - a) * i / steps
        if f(point) != label:
            return last, point
        last = point

# %% wrong="opposite_pair" name="closed ball" says="The slide's ball is open"
def opposite_pair(f, a, b, eps, p):
    label = f(a)
    while torch.linalg.vector_norm(a - b, ord=p) > eps:
        middle = (a + b) / 2
        a, b = (middle, b) if f(middle) == label else (a, middle)
    return a, b

# %% wrong="opposite_pair" name="always the L2 norm" says="norm p"
def opposite_pair(f, a, b, eps, p):
    label = f(a)
    while (a - b).norm() >= eps:
        middle = (a + b) / 2
        a, b = (middle, b) if f(middle) == label else (a, middle)
    return a, b

# %% wrong="opposite_pair" name="the wrong half" says="Which end has the middle's label?"
def opposite_pair(f, a, b, eps, p):
    label = f(a)
    while torch.linalg.vector_norm(a - b, ord=p) >= eps:
        middle = (a + b) / 2
        a, b = (a, middle) if f(middle) == label else (middle, b)
    return a, b

# %% wrong="opposite_pair" name="label 0 is assumed at a" says="different labels"
def opposite_pair(f, a, b, eps, p):
    while torch.linalg.vector_norm(a - b, ord=p) >= eps:
        middle = (a + b) / 2
        a, b = (middle, b) if f(middle) == 0 else (a, middle)
    return a, b

# %% wrong="opposite_pair" name="only one point returned" says="Return the two points"
def opposite_pair(f, a, b, eps, p):
    label = f(a)
    while torch.linalg.vector_norm(a - b, ord=p) >= eps:
        middle = (a + b) / 2
        a, b = (middle, b) if f(middle) == label else (a, middle)
    return a

# %% wrong="opposite_pair" name="the same point twice" says="x~ is x itself"
def opposite_pair(f, a, b, eps, p):
    return a, a

# %% wrong="opposite_pair" name="the ends as they were given" says="Halve on"
def opposite_pair(f, a, b, eps, p):
    return a, b

# %% wrong="opposite_pair" name="float32" says="dtype"
def opposite_pair(f, a, b, eps, p):
    a, b = a.float(), b.float()
    label = f(a)
    while torch.linalg.vector_norm(a - b, ord=p) >= eps:
        middle = (a + b) / 2
        a, b = (middle, b) if f(middle) == label else (a, middle)
    return a, b

# %% wrong="opposite_pair" name="a batch of points" says="f takes one point"
def opposite_pair(f, a, b, eps, p):
    t = torch.linspace(0, 1, 1000, dtype=torch.float64)[:, None]
    labels = f(a + t * (b - a))
    i = int((labels != labels[0]).nonzero()[0])
    return a + t[i - 1] * (b - a), a + t[i] * (b - a)

# %% wrong="opposite_pair" name="edits a in place" says="edited in place"
def opposite_pair(f, a, b, eps, p):
    label = f(a)
    while torch.linalg.vector_norm(a - b, ord=p) >= eps:
        middle = (a + b) / 2
        if f(middle) == label:
            a.copy_(middle)
        else:
            b.copy_(middle)
    return a, b

# %% wrong="opposite_pair" name="the package's own" says="write yourself"
def opposite_pair(f, a, b, eps, p):
    return attacks.opposite_ends(f, a, b, eps=eps, p=p)[-1]

# %% wrong="opposite_pair" name="a fixed number of halvings" says="or the loop not stop"
def opposite_pair(f, a, b, eps, p):
    label = f(a)
    for _ in range(60):
        middle = (a + b) / 2
        a, b = (middle, b) if f(middle) == label else (a, middle)
    return a, b

# %% wrong="opposite_pair" name="another function that is not written" says="your halvings_needed, which this calls, is not written yet"
def halvings_needed(distance, eps):
    raise NotImplementedError()

def opposite_pair(f, a, b, eps, p):
    label = f(a)
    for _ in range(halvings_needed(torch.linalg.vector_norm(a - b, ord=p).item(), eps)):
        middle = (a + b) / 2
        a, b = (middle, b) if f(middle) == label else (a, middle)
    return a, b

# %% wrong="opposite_pair" name="half the difference" says="Or does the distance not halve"
def opposite_pair(f, a, b, eps, p):
    label = f(a)
    while torch.linalg.vector_norm(a - b, ord=p) >= eps:
        middle = (a - b) / 2
        a, b = (middle, b) if f(middle) == label else (a, middle)
    return a, b

# %% wrong="opposite_pair" name="the package's checker" says="write yourself"
def opposite_pair(f, a, b, eps, p):
    return coursekit.attacks.bisection.opposite_ends(f, a, b, eps=eps, p=p)[-1]

# %% right="opposite_pair" name="along t in [0, 1], both ends asked"
def opposite_pair(f, a, b, eps, p):
    labels = {0.0: f(a), 1.0: f(b)}
    low, high = 0.0, 1.0
    length = torch.linalg.vector_norm(b - a, ord=p).item()
    while (high - low) * length >= eps:
        t = (low + high) / 2
        labels[t] = f(a + t * (b - a))
        if labels[t] == labels[low]:
            low = t
        else:
            high = t
    return (a if low == 0 else a + low * (b - a)), (b if high == 1 else a + high * (b - a))

# %% right="opposite_pair" name="recursion, stacked into one tensor"
def opposite_pair(f, a, b, eps, p):
    def halve(x, z, label):
        if torch.linalg.vector_norm(x - z, ord=p) < eps:
            return torch.stack([z, x])
        m = 0.5 * x + 0.5 * z
        return halve(m, z, label) if f(m) == label else halve(x, m, label)
    return halve(a.clone(), b.clone(), f(a))

# %% right="opposite_pair" name="norm by hand, a list"
def opposite_pair(f, a, b, eps, p):
    def norm(v):
        return v.abs().max() if p == math.inf else v.abs().pow(p).sum().pow(1 / p)
    ends = {f(a): a, f(b): b}
    while norm(ends[0] - ends[1]) >= eps:
        m = ends[0] + (ends[1] - ends[0]) / 2
        ends[f(m)] = m
    return [ends[1], ends[0]]

# ---------------------------------------------------------------- not_robust_among
# %% wrong="not_robust_among" name="robust instead" says="Asked for is the opposite"
def not_robust_among(points, labels, eps, p):
    return ~((torch.cdist(points, points, p=p) < eps) & (labels[:, None] != labels)).any(dim=1)

# %% wrong="not_robust_among" name="labels do not matter" says="also those of the same label"
def not_robust_among(points, labels, eps, p):
    return (torch.cdist(points, points, p=p) < eps).any(dim=1)

# %% wrong="not_robust_among" name="same label" says="near points of the same label"
def not_robust_among(points, labels, eps, p):
    near = torch.cdist(points, points, p=p) < eps
    near.fill_diagonal_(False)
    return (near & (labels[:, None] == labels)).any(dim=1)

# %% wrong="not_robust_among" name="closed ball" says="not below eps"
def not_robust_among(points, labels, eps, p):
    return ((torch.cdist(points, points, p=p) <= eps) & (labels[:, None] != labels)).any(dim=1)

# %% wrong="not_robust_among" name="always L2" says="Is p used?"
def not_robust_among(points, labels, eps, p):
    return ((torch.cdist(points, points) < eps) & (labels[:, None] != labels)).any(dim=1)

# %% wrong="not_robust_among" name="one of each pair" says="first of each pair only"
def not_robust_among(points, labels, eps, p):
    out = torch.zeros(len(points), dtype=torch.bool)
    for i in range(len(points)):
        for j in range(i + 1, len(points)):
            if (points[i] - points[j]).norm(p=p) < eps and labels[i] != labels[j]:
                out[i] = True
    return out

# %% wrong="not_robust_among" name="a matrix of pairs" says="reduce over the points"
def not_robust_among(points, labels, eps, p):
    return (torch.cdist(points, points, p=p) < eps) & (labels[:, None] != labels)

# %% wrong="not_robust_among" name="labels 0 and 1 only" says="Another label, whichever"
def not_robust_among(points, labels, eps, p):
    zero, one = points[labels == 0], points[labels == 1]
    near = torch.cdist(points, zero, p=p), torch.cdist(points, one, p=p)
    return torch.where(labels == 0, (near[1] < eps).any(1), torch.where(labels == 1, (near[0] < eps).any(1), torch.tensor(False)))

# %% wrong="not_robust_among" name="the nearest point decides" says="look at the nearest point alone"
def not_robust_among(points, labels, eps, p):
    if len(points) == 1:
        return torch.tensor([False])
    distance = torch.cdist(points, points, p=p)
    distance.fill_diagonal_(math.inf)
    nearest = distance.min(dim=1)
    return (nearest.values < eps) & (labels[nearest.indices] != labels)

# %% wrong="not_robust_among" name="labels with themselves" says="Are the labels of all pairs compared"
def not_robust_among(points, labels, eps, p):
    return ((torch.cdist(points, points, p=p) < eps) & (labels != labels)).any(dim=1)

# %% wrong="not_robust_among" name="the norm over the points" says="distances taken over the coordinates"
def not_robust_among(points, labels, eps, p):
    away = torch.linalg.vector_norm(points[:, None] - points, ord=p, dim=1)[:, :1]
    return ((away < eps) & (labels[:, None] != labels)).any(dim=1)

# %% wrong="not_robust_among" name="labels in order" says="Do you compare labels with > or <"
def not_robust_among(points, labels, eps, p):
    return ((torch.cdist(points, points, p=p) < eps) & (labels[:, None] > labels)).any(dim=1)

# %% wrong="not_robust_among" name="consecutive rows" says="each row with the next row only"
def not_robust_among(points, labels, eps, p):
    near = torch.linalg.vector_norm(points[1:] - points[:-1], ord=p, dim=1) < eps
    hit = near & (labels[1:] != labels[:-1])
    none = torch.zeros(1, dtype=torch.bool)
    return torch.cat([hit, none]) | torch.cat([none, hit])

# %% wrong="not_robust_among" name="none" says="You find none"
def not_robust_among(points, labels, eps, p):
    return torch.zeros(len(points), dtype=torch.bool)

# %% right="not_robust_among" name="two loops"
def not_robust_among(points, labels, eps, p):
    out = []
    for x, label in zip(points, labels):
        out.append(bool(any(l != label and torch.linalg.vector_norm(x - z, ord=p) < eps for z, l in zip(points, labels))))
    return torch.tensor(out)

# %% right="not_robust_among" name="differences by broadcasting"
def not_robust_among(points, labels, eps, p):
    distance = torch.linalg.vector_norm(points[:, None] - points[None], ord=p, dim=-1)
    distance = distance.masked_fill(labels[:, None] == labels, math.inf)
    return distance.amin(dim=1) < eps

# ---------------------------------------------------------------- lowest_lead
# %% wrong="lowest_lead" name="the two ends only" says="two ends only"
def lowest_lead(w, b, v, c, x, eps):
    u = torch.tensor([x - eps, x + eps], dtype=torch.float64)
    return float(((u[:, None] * w + b).clamp_min(0) @ v + c).min())

# %% wrong="lowest_lead" name="a grid" says="points of a grid"
def lowest_lead(w, b, v, c, x, eps):
    u = torch.linspace(x - eps, x + eps, 10001, dtype=torch.float64)
    return float(((u[:, None] * w + b).clamp_min(0) @ v + c).min())

# %% wrong="lowest_lead" name="bends outside count, too" says="bend outside"
def lowest_lead(w, b, v, c, x, eps):
    keep = w != 0
    u = torch.cat([torch.tensor([x - eps, x + eps], dtype=torch.float64), -b[keep] / w[keep]])
    return float(((u[:, None] * w + b).clamp_min(0) @ v + c).min())

# %% wrong="lowest_lead" name="bends only" says="You look at the bends only"
def lowest_lead(w, b, v, c, x, eps):
    u = -b / w
    u = torch.cat([u[(u - x).abs() <= eps], torch.tensor([float(x)])])
    return float(((u[:, None] * w + b).clamp_min(0) @ v + c).min())

# %% wrong="lowest_lead" name="division by zero" says="do not divide by 0"
def lowest_lead(w, b, v, c, x, eps):
    u = -b / w
    u = torch.cat([torch.tensor([x - eps, x + eps], dtype=torch.float64), u.clamp(x - eps, x + eps)])
    return float(((u[:, None] * w + b).clamp_min(0) @ v + c).min())

# %% wrong="lowest_lead" name="highest" says="This is the highest value"
def lowest_lead(w, b, v, c, x, eps):
    keep = w != 0
    u = -b[keep] / w[keep]
    u = torch.cat([torch.tensor([x - eps, x + eps], dtype=torch.float64), u[(u - x).abs() <= eps]])
    return float(((u[:, None] * w + b).clamp_min(0) @ v + c).max())

# %% wrong="lowest_lead" name="the constant is forgotten" says="constant c is missing"
def lowest_lead(w, b, v, c, x, eps):
    keep = w != 0
    u = -b[keep] / w[keep]
    u = torch.cat([torch.tensor([x - eps, x + eps], dtype=torch.float64), u[(u - x).abs() <= eps]])
    return float(((u[:, None] * w + b).clamp_min(0) @ v).min())

# %% wrong="lowest_lead" name="the place" says="This is a place u"
def lowest_lead(w, b, v, c, x, eps):
    keep = w != 0
    u = -b[keep] / w[keep]
    u = torch.cat([torch.tensor([x - eps, x + eps], dtype=torch.float64), u[(u - x).abs() <= eps]])
    return float(u[((u[:, None] * w + b).clamp_min(0) @ v + c).argmin()])

# %% wrong="lowest_lead" name="the sign of the bend" says="your bends are misplaced"
def lowest_lead(w, b, v, c, x, eps):
    keep = w != 0
    u = b[keep] / w[keep]
    u = torch.cat([torch.tensor([x - eps, x + eps], dtype=torch.float64), u[(u - x).abs() <= eps]])
    return float(((u[:, None] * w + b).clamp_min(0) @ v + c).min())

# %% wrong="lowest_lead" name="the package's own" says="write yourself"
def lowest_lead(w, b, v, c, x, eps):
    network = coursekit.certify.enumeration.TinyNetwork.of_numbers(w[:, None].tolist(), b.tolist(), [v.tolist(), [0.0] * len(v)], [float(c), 0.0])
    return float(coursekit.certify.enumeration.worst(network, [x], 0, eps).lead)

# %% wrong="lowest_lead" name="a neuron with w = 0 is left out" says="still adds v max(b, 0)"
def lowest_lead(w, b, v, c, x, eps):
    keep = w != 0
    w, b, v = w[keep], b[keep], v[keep]
    u = torch.cat([torch.tensor([x - eps, x + eps], dtype=torch.float64), -b / w])
    u = u[(u - x).abs() <= eps]
    return float(((u[:, None] * w + b).clamp_min(0) @ v + c).min())

# %% wrong="lowest_lead" name="float32" says="Is something float32?"
def lowest_lead(w, b, v, c, x, eps):
    w, b, v = w.float(), b.float(), v.float()
    keep = w != 0
    u = torch.cat([torch.tensor([x - eps, x + eps]), -b[keep] / w[keep]])
    u = u[(u - x).abs() <= eps]
    return float(((u[:, None] * w + b).clamp_min(0) @ v + c).min())

# %% right="lowest_lead" name="plain Python"
def lowest_lead(w, b, v, c, x, eps):
    def m(u):
        return sum(vj * max(wj * u + bj, 0.0) for wj, bj, vj in zip(w.tolist(), b.tolist(), v.tolist())) + c
    places = [x - eps, x + eps]
    for wj, bj in zip(w.tolist(), b.tolist()):
        if wj != 0 and x - eps < -bj / wj < x + eps:
            places.append(-bj / wj)
    return min(m(u) for u in places)

# %% right="lowest_lead" name="bends outside are moved to the ends"
def lowest_lead(w, b, v, c, x, eps):
    bends = torch.where(w == 0, torch.full_like(w, x), -b / w)
    u = torch.cat([bends, torch.tensor([x - eps, x + eps], dtype=w.dtype)]).clip(x - eps, x + eps)
    return ((torch.outer(u, w) + b).clamp(min=0) * v).sum(dim=1).min() + c

# %% right="lowest_lead" name="slopes of the pieces, summed from left to right"
def lowest_lead(w, b, v, c, x, eps):
    keep = w != 0
    inner = -b[keep] / w[keep]
    inner = inner[(inner > x - eps) & (inner < x + eps)]
    u = torch.cat([torch.tensor([x - eps], dtype=w.dtype), inner, torch.tensor([x + eps], dtype=w.dtype)]).sort().values
    value = float((w * u[0] + b).relu() @ v) + c
    lowest = value
    for left, right in zip(u[:-1], u[1:]):
        slope = float((v * w)[(w * (left + right) / 2 + b) > 0].sum())
        value += slope * float(right - left)
        lowest = min(lowest, value)
    return lowest

# ---------------------------------------------------------------- fgsm_misses
# %% wrong="fgsm_misses" name="a constant classifier" says="stands still"
def fgsm_misses(eps):
    return {"layers": [([[1.0]], [0.5]), ([[0.0], [0.0]], [1.0, 0.0])], "x": [0.0], "y": 0}

# %% wrong="fgsm_misses" name="the network says another label at x" says="An adversarial example needs f(x) = y"
def fgsm_misses(eps):
    unit = 1 / eps
    return {"layers": [([[unit]] * 4, [-0.25, -0.5, -0.75, 2.0]), ([[0, 0, 0, 0], [8, -16, 8, -0.25]], [0, -0.5])], "x": [0.0], "y": 1}

# %% wrong="fgsm_misses" name="FGSM succeeds" says="FGSM succeeds here"
def fgsm_misses(eps):
    return {"layers": [([[1 / eps]], [2.0]), ([[0.0], [1.0]], [0.0, -2.5])], "x": [0.0], "y": 0}

# %% wrong="fgsm_misses" name="nothing to find" says="No attack can succeed"
def fgsm_misses(eps):
    return {"layers": [([[1 / eps]], [2.0]), ([[0.0], [-0.1]], [1.0, 0.0])], "x": [0.0], "y": 0}

# %% wrong="fgsm_misses" name="the bump lies outside of the ball" says="less than eps away"
def fgsm_misses(eps):
    unit = 1 / eps
    return {"layers": [([[unit]] * 4, [-1.25, -1.5, -1.75, 2.0]), ([[0, 0, 0, 0], [8, -16, 8, -0.25]], [0, -0.5])], "x": [0.0], "y": 0}

# %% wrong="fgsm_misses" name="zero gradient" says="stands still"
def fgsm_misses(eps):
    unit = 1 / eps
    return {"layers": [([[unit]] * 3, [-0.25, -0.5, -0.75]), ([[0, 0, 0], [8, -16, 8]], [0, -0.5])], "x": [0.0], "y": 0}

# %% wrong="fgsm_misses" name="x on a kink" says="on the kink of neuron"
def fgsm_misses(eps):
    unit = 1 / eps
    return {"layers": [([[unit]] * 3, [0.0, -0.5, -1.0]), ([[0, 0, 0], [8, -16, 8]], [0, -0.5])], "x": [0.0], "y": 0}

# %% wrong="fgsm_misses" name="eps written out" says="grow and shrink with eps"
def fgsm_misses(eps):
    return {"layers": [([[1.0]] * 4, [-0.25, -0.5, -0.75, 2.0]), ([[0, 0, 0, 0], [8, -16, 8, -0.25]], [0, -0.5])], "x": [0.0], "y": 0}

# %% wrong="fgsm_misses" name="rows and columns exchanged" says="do not fit together"
def fgsm_misses(eps):
    unit = 1 / eps
    return {"layers": [([[unit] * 4], [-0.25, -0.5, -0.75, 2.0]), ([[0, 0, 0, 0], [8, -16, 8, -0.25]], [0, -0.5])], "x": [0.0], "y": 0}

# %% wrong="fgsm_misses" name="a tie instead of a lead" says="Too narrow a lead"
def fgsm_misses(eps):
    unit = 1 / eps
    return {"layers": [([[unit]] * 4, [-0.25, -0.5, -0.75, 2.0]), ([[0, 0, 0, 0], [8, -16, 8, -0.25]], [1.37, -0.005])], "x": [0.0], "y": 0}

# %% wrong="fgsm_misses" name="three layers" says="One hidden layer"
def fgsm_misses(eps):
    return {"layers": [([[1.0]], [0.5]), ([[1.0]], [0.5]), ([[0.0], [1.0]], [1.0, 0.0])], "x": [0.0], "y": 0}

# %% wrong="fgsm_misses" name="a model instead of numbers" says="a dict with"
def fgsm_misses(eps):
    return torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))

# %% wrong="fgsm_misses" name="infinite weights" says="finite numbers"
def fgsm_misses(eps):
    return {"layers": [([[math.inf]] * 4, [-0.25, -0.5, -0.75, 2.0]), ([[0, 0, 0, 0], [8, -16, 8, -0.25]], [0, -0.5])], "x": [0.0], "y": 0}

# %% wrong="fgsm_misses" name="ten neurons" says="at most 3 inputs and 8 neurons"
def fgsm_misses(eps):
    unit = 1 / eps
    return {"layers": [([[unit]] * 10, [-0.25, -0.5, -0.75] + [2.0] * 7), ([[0] * 10, [8, -16, 8] + [-0.04] * 7], [0, -0.5])], "x": [0.0], "y": 0}

# %% wrong="fgsm_misses" name="W1 as a flat list" says="W1 is a matrix"
def fgsm_misses(eps):
    unit = 1 / eps
    return {"layers": [([unit] * 4, [-0.25, -0.5, -0.75, 2.0]), ([[0, 0, 0, 0], [8, -16, 8, -0.25]], [0, -0.5])], "x": [0.0], "y": 0}

# %% wrong="fgsm_misses" name="three classes" says="It is about the form"
def fgsm_misses(eps):
    unit = 1 / eps
    return {"layers": [([[unit]] * 4, [-0.25, -0.5, -0.75, 2.0]), ([[0, 0, 0, 0], [8, -16, 8, -0.25], [0, 0, 0, 0]], [0, -0.5, -9])], "x": [0.0], "y": 0}

# %% wrong="fgsm_misses" name="layers as modules" says="not a torch module"
def fgsm_misses(eps):
    return {"layers": [torch.nn.Linear(1, 4), torch.nn.Linear(4, 2)], "x": [0.0], "y": 0}

# %% wrong="fgsm_misses" name="x as a number" says="It is about the form"
def fgsm_misses(eps):
    unit = 1 / eps
    return {"layers": [([[unit]] * 4, [-0.25, -0.5, -0.75, 2.0]), ([[0, 0, 0, 0], [8, -16, 8, -0.25]], [0, -0.5])], "x": 0.0, "y": 0}

# %% wrong="fgsm_misses" name="nine neurons" says="1 input, 9 neurons"
def fgsm_misses(eps):
    unit = 1 / eps
    return {"layers": [([[unit]] * 9, [-0.25, -0.5, -0.75] + [2.0] * 6), ([[0] * 9, [8, -16, 8] + [-0.04] * 6], [0, -0.5])], "x": [0.0], "y": 0}

# %% right="fgsm_misses" name="too far: a bump on FGSM's own way, y = 1, tensors"
def fgsm_misses(eps):
    w1 = torch.ones(4, 1) / eps
    w2 = torch.tensor([[10.0, -20.0, 10.0, 0.1], [0.0, 0.0, 0.0, 0.0]])
    return {"layers": [(w1, torch.tensor([-0.2, -0.4, -0.6, 3.0])), (w2, torch.tensor([-1.0, 0.0]))], "x": torch.zeros(1), "y": 1}

# %% right="fgsm_misses" name="two inputs, x elsewhere"
def fgsm_misses(eps):
    # at (3, -2) eps; the other class lives in two corners of the ball, and the gradient leads to a third
    w1 = [[1 / eps, -1 / eps], [-1 / eps, 1 / eps], [1 / eps, 1 / eps]]
    return {"layers": [(w1, [-6.0, 4.0, 9.0]), ([[0.0, 0.0, 0.0], [1.0, 1.0, 0.1]], [1.6, 0.0])], "x": [3 * eps, -2 * eps], "y": 0}

# %% right="fgsm_misses" name="three inputs, numpy turned into lists"
def fgsm_misses(eps):
    import numpy as np
    w1 = np.zeros((4, 3))
    w1[:, 2] = -1 / eps
    w2 = np.array([[0, 0, 0, 0], [40, -80, 40, -0.1]], dtype=float)
    return {"y": 0, "x": [5.0, -3.0, 0.0], "layers": [[w1.tolist(), [-0.1, -0.2, -0.3, 2]], [w2.tolist(), [0, -0.5]]]}

# ---------------------------------------------------------------- worst_lead
# %% wrong="worst_lead" name="plus" says="highest lead"
def worst_lead(w, b, x, y, eps):
    return (2 * y - 1) * (x @ w + b) + eps * w.abs().sum()

# %% wrong="worst_lead" name="label ignored" says="minus the score"
def worst_lead(w, b, x, y, eps):
    return x @ w + b - eps * w.abs().sum()

# %% wrong="worst_lead" name="everything turned round" says="turn round the whole expression"
def worst_lead(w, b, x, y, eps):
    return (2 * y - 1) * (x @ w + b - eps * w.abs().sum())

# %% wrong="worst_lead" name="L2 norm" says="L2 norm of w"
def worst_lead(w, b, x, y, eps):
    return (2 * y - 1) * (x @ w + b) - eps * w.norm()

# %% wrong="worst_lead" name="sum of w" says="sum of |w|"
def worst_lead(w, b, x, y, eps):
    return (2 * y - 1) * (x @ w + b) - eps * w.sum()

# %% wrong="worst_lead" name="largest weight" says="largest |w|"
def worst_lead(w, b, x, y, eps):
    return (2 * y - 1) * (x @ w + b) - eps * w.abs().max()

# %% wrong="worst_lead" name="no bias" says="bias b is missing"
def worst_lead(w, b, x, y, eps):
    return (2 * y - 1) * (x @ w) - eps * w.abs().sum()

# %% wrong="worst_lead" name="cut off at zero" says="cut off"
def worst_lead(w, b, x, y, eps):
    return ((2 * y - 1) * (x @ w + b) - eps * w.abs().sum()).clamp_min(0)

# %% wrong="worst_lead" name="no ball" says="What does the ball take away"
def worst_lead(w, b, x, y, eps):
    return (2 * y - 1) * (x @ w + b)

# %% wrong="worst_lead" name="times y" says="multiplying with y"
def worst_lead(w, b, x, y, eps):
    return y * (x @ w + b) - eps * w.abs().sum()

# %% wrong="worst_lead" name="a sum over the batch" says="mean or a sum"
def worst_lead(w, b, x, y, eps):
    return ((2 * y - 1) * (x @ w + b) - eps * w.abs().sum()).sum()

# %% wrong="worst_lead" name="the package's own" says="write yourself"
def worst_lead(w, b, x, y, eps):
    halves = torch.tensor([-0.5, 0.5], dtype=x.dtype)
    classifier = torch.nn.Linear(len(w), 2, dtype=x.dtype)
    classifier.load_state_dict({"weight": halves[:, None] * w, "bias": halves * b})
    z = classifier(attacks.best_corner(classifier, x, y, LpBall(eps, math.inf, bounds=(-math.inf, math.inf)))).detach()
    return z.gather(1, y[:, None])[:, 0] - z.gather(1, 1 - y[:, None])[:, 0]

# %% wrong="worst_lead" name="the checker's own" says="write yourself"
def worst_lead(w, b, x, y, eps):
    halves = torch.tensor([-0.5, 0.5], dtype=x.dtype)
    return checks.proofs.lowest_of_ball(halves[:, None] * w, halves * b, x, y, eps)

# %% right="worst_lead" name="FGSM's point and the lead there"
def worst_lead(w, b, x, y, eps):
    side = torch.where(y == 1, 1.0, -1.0).to(x)[:, None]
    x_adv = x - eps * side * w.sign()
    return side[:, 0] * (x_adv @ w + b)

# %% right="worst_lead" name="all corners"
def worst_lead(w, b, x, y, eps):
    import itertools
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=len(w))), dtype=x.dtype)
    scores = (x[:, None] + eps * signs) @ w + b
    return torch.where(y[:, None] == 1, scores, -scores).amin(dim=1)

# %% right="worst_lead" name="point by point"
def worst_lead(w, b, x, y, eps):
    rows = []
    for point, label in zip(x, y.tolist()):
        s = (point * w).sum() + b
        rows.append((s if label else -s) - eps * torch.linalg.vector_norm(w, ord=1))
    return torch.stack(rows)

# ---------------------------------------------------------------- best_step
# %% wrong="best_step" name="FGSM with the cross-entropy" says="This is FGSM with the cross-entropy, which mixes"
def best_step(weight, bias, x, y, eps):
    p = (x @ weight.T + bias).softmax(dim=1)
    gradient = (p - torch.nn.functional.one_hot(y, len(weight)).to(x)) @ weight
    return x + eps * gradient.sign()

# %% wrong="best_step" name="the runner-up only" says="only the rival that is strongest at x"
def best_step(weight, bias, x, y, eps):
    logits = (x @ weight.T + bias).scatter(1, y[:, None], -math.inf)
    return x - eps * (weight[y] - weight[logits.argmax(dim=1)]).sign()

# %% wrong="best_step" name="uphill" says="make the lead of y larger"
def best_step(weight, bias, x, y, eps):
    logits = (x @ weight.T + bias).scatter(1, y[:, None], -math.inf)
    return x + eps * (weight[y] - weight[logits.argmax(dim=1)]).sign()

# %% wrong="best_step" name="away from y alone" says="whatever the rivals do"
def best_step(weight, bias, x, y, eps):
    return x - eps * weight[y].sign()

# %% wrong="best_step" name="y counts as its own rival" says="Nothing was added to x"
def best_step(weight, bias, x, y, eps):
    best, lowest = x, torch.zeros(len(x))
    for k in range(len(weight)):
        away = weight[y] - weight[k]
        corner = x - eps * away.sign()
        score = (corner * away).sum(dim=1).abs()
        best = torch.where((score < lowest)[:, None], corner, best)
    return best

# %% wrong="best_step" name="not scaled by eps" says="No coordinate may move by more than eps"
def best_step(weight, bias, x, y, eps):
    best, lowest = x, x.new_full((len(x),), math.inf)
    for k in range(len(weight)):
        away = weight[y] - weight[k]
        corner = x - away.sign()
        score = (corner * away).sum(dim=1) + bias[y] - bias[k]
        better = (score < lowest) & (y != k)
        best, lowest = torch.where(better[:, None], corner, best), torch.where(better, score, lowest)
    return best

# %% wrong="best_step" name="the bias is forgotten" says="The bias is missing"
def best_step(weight, bias, x, y, eps):
    best, lowest = x, x.new_full((len(x),), math.inf)
    for k in range(len(weight)):
        away = weight[y] - weight[k]
        corner = x - eps * away.sign()
        score = (corner * away).sum(dim=1)
        better = (score < lowest) & (y != k)
        best, lowest = torch.where(better[:, None], corner, best), torch.where(better, score, lowest)
    return best

# %% wrong="best_step" name="one rival for the whole batch" says="one rival for the whole batch"
def best_step(weight, bias, x, y, eps):
    best, lowest = x, math.inf
    for k in range(len(weight)):
        if (y == k).any():
            continue
        away = weight[y] - weight[k]
        corner = x - eps * away.sign()
        score = ((corner * away).sum(dim=1) + bias[y] - bias[k]).sum()
        if score < lowest:
            best, lowest = corner, score
    return best

# %% wrong="best_step" name="gradient instead of sign" says="No coordinate may move by more than eps"
def best_step(weight, bias, x, y, eps):
    logits = (x @ weight.T + bias).scatter(1, y[:, None], -math.inf)
    return x - eps * (weight[y] - weight[logits.argmax(dim=1)])

# %% wrong="best_step" name="the package's own" says="write yourself"
def best_step(weight, bias, x, y, eps):
    linear = torch.nn.Linear(weight.shape[1], len(weight))
    linear.load_state_dict({"weight": weight, "bias": bias})
    return attacks.best_corner(linear, x, y, LpBall(eps, math.inf, bounds=(-math.inf, math.inf)))

# %% wrong="best_step" name="clamped to [0, 1]" says="There is no image range here"
def best_step(weight, bias, x, y, eps):
    away = weight[y].unsqueeze(1) - weight
    margin = torch.einsum("bkd,bd->bk", away, x) + bias[y].unsqueeze(1) - bias - eps * away.abs().sum(-1)
    margin[torch.arange(len(y)), y] = math.inf
    k = margin.argmin(dim=1)
    return (x - eps * away[torch.arange(len(y)), k].sign()).clamp(0, 1)

# %% wrong="best_step" name="x is edited in place" says="x was edited in place"
def best_step(weight, bias, x, y, eps):
    best, lowest = x, x.new_full((len(x),), math.inf)
    for k in range(len(weight)):
        away = weight[y] - weight[k]
        corner = x - eps * away.sign()
        score = (corner * away).sum(dim=1) + bias[y] - bias[k]
        better = (score < lowest) & (y != k)
        best[better], lowest[better] = corner[better], score[better]
    return best

# %% wrong="best_step" name="PGD" says="does for you what this exercise asks"
def best_step(weight, bias, x, y, eps):
    linear = torch.nn.Linear(weight.shape[1], len(weight))
    return attacks.pgd(linear, x, y, LpBall(eps, math.inf, bounds=(-math.inf, math.inf)))

# %% right="best_step" name="all rivals at once"
def best_step(weight, bias, x, y, eps):
    away = weight[y].unsqueeze(1) - weight
    margin = torch.einsum("bkd,bd->bk", away, x) + bias[y].unsqueeze(1) - bias - eps * away.abs().sum(-1)
    margin[torch.arange(len(y)), y] = math.inf
    k = margin.argmin(dim=1)
    return x - eps * away[torch.arange(len(y)), k].sign()

# %% right="best_step" name="point by point, judged by the true lead"
def best_step(weight, bias, x, y, eps):
    rows = []
    for point, label in zip(x, y.tolist()):
        candidates = []
        for k in range(len(weight)):
            if k != label:
                corner = point + eps * (weight[k] - weight[label]).sign()
                z = weight @ corner + bias
                others = torch.cat([z[:label], z[label + 1:]])
                candidates.append((float(z[label] - others.max()), corner))
        rows.append(min(candidates, key=lambda pair: pair[0])[1])
    return torch.stack(rows)

# %% right="best_step" name="autograd on each difference of logits"
def best_step(weight, bias, x, y, eps):
    best, lowest = x.clone(), torch.full((len(x),), math.inf, dtype=x.dtype)
    rows = torch.arange(len(x))
    for k in range(len(weight)):
        z = x.clone().requires_grad_(True)
        logits = z @ weight.T + bias
        (g,) = torch.autograd.grad((logits[:, k] - logits[rows, y]).sum(), z)
        corner = x + eps * g.sign()
        after = corner @ weight.T + bias
        lead = after[rows, y] - after[:, k]
        use = (lead < lowest) & (y != k)
        best[use], lowest[use] = corner[use], lead[use]
    return best
