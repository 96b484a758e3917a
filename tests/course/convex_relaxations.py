# Answers to assignment `convex_relaxations` as students write them. Each cell stands in for one solution cell.
# wrong: must lose points, and `says` must appear in what the check shows. right: must get full points.

# ---------------------------------------------------------------- interval_linear
# %% wrong="interval_linear" name="ends through the layer as they are" says="right for weights above 0 only"
def interval_linear(weight, bias, lower, upper):
    return weight @ lower + bias, weight @ upper + bias

# %% wrong="interval_linear" name="smaller and larger of the two" says="decide weight by weight"
def interval_linear(weight, bias, lower, upper):
    one, other = weight @ lower + bias, weight @ upper + bias
    return torch.minimum(one, other), torch.maximum(one, other)

# %% wrong="interval_linear" name="bias forgotten" says="bias is missing"
def interval_linear(weight, bias, lower, upper):
    plus, minus = weight.clamp(min=0), weight.clamp(max=0)
    return plus @ lower + minus @ upper, plus @ upper + minus @ lower

# %% wrong="interval_linear" name="radius not halved" says="half of upper - lower"
def interval_linear(weight, bias, lower, upper):
    centre, radius = (upper + lower) / 2, upper - lower
    return weight @ centre + bias - weight.abs() @ radius, weight @ centre + bias + weight.abs() @ radius

# %% wrong="interval_linear" name="absolute values for the centre, too" says="goes through the layer as it is"
def interval_linear(weight, bias, lower, upper):
    centre, radius = (upper + lower) / 2, (upper - lower) / 2
    middle = weight.abs() @ centre + bias
    return middle - weight.abs() @ radius, middle + weight.abs() @ radius

# %% wrong="interval_linear" name="bias in the radius" says="makes it no wider"
def interval_linear(weight, bias, lower, upper):
    centre, radius = (upper + lower) / 2, (upper - lower) / 2
    reach = weight.abs() @ radius + bias
    return weight @ centre + bias - reach, weight @ centre + bias + reach

# %% wrong="interval_linear" name="upper first" says="swapped"
def interval_linear(weight, bias, lower, upper):
    plus, minus = weight.clamp(min=0), weight.clamp(max=0)
    return plus @ upper + minus @ lower + bias, plus @ lower + minus @ upper + bias

# %% wrong="interval_linear" name="only the lower end" says="Return lower, upper"
def interval_linear(weight, bias, lower, upper):
    return weight.clamp(min=0) @ lower + weight.clamp(max=0) @ upper + bias

# %% wrong="interval_linear" name="lower edited in place" says="edited in place"
def interval_linear(weight, bias, lower, upper):
    radius = upper - lower
    lower += radius / 2
    radius = radius / 2
    return weight @ lower + bias - weight.abs() @ radius, weight @ lower + bias + weight.abs() @ radius

# %% wrong="interval_linear" name="nothing returned" says="forget a return"
def interval_linear(weight, bias, lower, upper):
    plus, minus = weight.clamp(min=0), weight.clamp(max=0)
    ends = plus @ lower + minus @ upper + bias, plus @ upper + minus @ lower + bias

# %% wrong="interval_linear" name="lower overwritten before it is used" says="upper needs the old one"
def interval_linear(weight, bias, lower, upper):
    plus, minus = weight.clamp(min=0), weight.clamp(max=0)
    lower = plus @ lower + minus @ upper + bias
    upper = plus @ upper + minus @ lower + bias
    return lower, upper

# %% wrong="interval_linear" name="a ReLU behind it" says="A ReLU has slipped in"
def interval_linear(weight, bias, lower, upper):
    plus, minus = weight.clamp(min=0), weight.clamp(max=0)
    return (plus @ lower + minus @ upper + bias).relu(), (plus @ upper + minus @ lower + bias).relu()

# %% wrong="interval_linear" name="in float64 whatever comes in" says="Compute in the dtype of the input" most="2.4"
def interval_linear(weight, bias, lower, upper):
    weight, bias, lower, upper = weight.double(), bias.double(), lower.double(), upper.double()
    plus, minus = weight.clamp(min=0), weight.clamp(max=0)
    return plus @ lower + minus @ upper + bias, plus @ upper + minus @ lower + bias

# %% wrong="interval_linear" name="summed to one number" says="one value for each output"
def interval_linear(weight, bias, lower, upper):
    terms = torch.stack([weight * lower, weight * upper])
    return terms.amin(0).sum() + bias.sum(), terms.amax(0).sum() + bias.sum()

# %% right="interval_linear" name="terms, their smaller and larger ends"
def interval_linear(weight, bias, lower, upper):
    terms = torch.stack([weight * lower, weight * upper])
    return terms.min(dim=0).values.sum(dim=1) + bias, terms.max(dim=0).values.sum(dim=1) + bias

# %% right="interval_linear" name="loops over numbers"
def interval_linear(weight, bias, lower, upper):
    low, high = [], []
    for row, b in zip(weight, bias):
        low.append(b + sum(w * (lower[i] if w > 0 else upper[i]) for i, w in enumerate(row)))
        high.append(b + sum(w * (upper[i] if w > 0 else lower[i]) for i, w in enumerate(row)))
    return torch.stack(low), torch.stack(high)

# %% right="interval_linear" name="one stacked tensor"
def interval_linear(weight, bias, lower, upper):
    spread = weight.abs() @ (upper - lower)
    total = weight @ (upper + lower) + 2 * bias
    return torch.stack([total - spread, total + spread]) / 2

# ---------------------------------------------------------------- interval_network
# %% wrong="interval_network" name="ReLU behind the last layer" says="A ReLU follows the last layer"
def interval_network(layers, lower, upper):
    for weight, bias in layers:
        plus, minus = weight.clamp(min=0), weight.clamp(max=0)
        lower, upper = plus @ lower + minus @ upper + bias, plus @ upper + minus @ lower + bias
        lower, upper = lower.relu(), upper.relu()
    return lower, upper

# %% wrong="interval_network" name="no ReLU at all" says="no ReLU between the layers"
def interval_network(layers, lower, upper):
    for weight, bias in layers:
        plus, minus = weight.clamp(min=0), weight.clamp(max=0)
        lower, upper = plus @ lower + minus @ upper + bias, plus @ upper + minus @ lower + bias
    return lower, upper

# %% wrong="interval_network" name="ReLU in front of the first layer" says="in front of the first layer"
def interval_network(layers, lower, upper):
    for weight, bias in layers:
        lower, upper = lower.relu(), upper.relu()
        plus, minus = weight.clamp(min=0), weight.clamp(max=0)
        lower, upper = plus @ lower + minus @ upper + bias, plus @ upper + minus @ lower + bias
    return lower, upper

# %% wrong="interval_network" name="lower overwritten before it is used" says="upper needs the old one"
def interval_network(layers, lower, upper):
    for i, (weight, bias) in enumerate(layers):
        if i:
            lower, upper = lower.relu(), upper.relu()
        plus, minus = weight.clamp(min=0), weight.clamp(max=0)
        lower = plus @ lower + minus @ upper + bias
        upper = plus @ upper + minus @ lower + bias
    return lower, upper

# %% wrong="interval_network" name="weights as if above 0" says="negative ones need the other end"
def interval_network(layers, lower, upper):
    for i, (weight, bias) in enumerate(layers):
        if i:
            lower, upper = lower.relu(), upper.relu()
        lower, upper = weight @ lower + bias, weight @ upper + bias
    return lower, upper

# %% wrong="interval_network" name="biases forgotten" says="biases are missing"
def interval_network(layers, lower, upper):
    for i, (weight, _) in enumerate(layers):
        if i:
            lower, upper = lower.relu(), upper.relu()
        plus, minus = weight.clamp(min=0), weight.clamp(max=0)
        lower, upper = plus @ lower + minus @ upper, plus @ upper + minus @ lower
    return lower, upper

# %% wrong="interval_network" name="two layers written out" says="IndexError"
def interval_network(layers, lower, upper):
    (w1, b1), (w2, b2) = layers[0], layers[1]
    c, r = w1 @ ((lower + upper) / 2) + b1, w1.abs() @ ((upper - lower) / 2)
    lower, upper = (c - r).relu(), (c + r).relu()
    c, r = w2 @ ((lower + upper) / 2) + b2, w2.abs() @ ((upper - lower) / 2)
    return c - r, c + r

# %% wrong="interval_network" name="points drawn at random" says="outside of the bounds"
def interval_network(layers, lower, upper):
    h = lower + (upper - lower) * torch.rand(20000, len(lower), dtype=lower.dtype)
    for i, (weight, bias) in enumerate(layers):
        h = (h.relu() if i else h) @ weight.T + bias
    return h.min(dim=0).values - 1e-3, h.max(dim=0).values + 1e-3

# %% wrong="interval_network" name="the list of layers emptied" says="edited in place"
def interval_network(layers, lower, upper):
    first = True
    while layers:
        weight, bias = layers.pop(0)
        if not first:
            lower, upper = lower.relu(), upper.relu()
        plus, minus = weight.clamp(min=0), weight.clamp(max=0)
        lower, upper = plus @ lower + minus @ upper + bias, plus @ upper + minus @ lower + bias
        first = False
    return lower, upper

# %% wrong="interval_network" name="ReLU on the lower ends only" says="Only the lower ends go through the ReLU"
def interval_network(layers, lower, upper):
    for i, (weight, bias) in enumerate(layers):
        lower = lower.relu() if i else lower
        plus, minus = weight.clamp(min=0), weight.clamp(max=0)
        lower, upper = plus @ lower + minus @ upper + bias, plus @ upper + minus @ lower + bias
    return lower, upper

# %% wrong="interval_network" name="ReLU on the upper ends only" says="Only the upper ends go through the ReLU"
def interval_network(layers, lower, upper):
    for i, (weight, bias) in enumerate(layers):
        upper = upper.relu() if i else upper
        plus, minus = weight.clamp(min=0), weight.clamp(max=0)
        lower, upper = plus @ lower + minus @ upper + bias, plus @ upper + minus @ lower + bias
    return lower, upper

# %% wrong="interval_network" name="the loop of the first figure" says="asks you to write yourself"
def interval_network(layers, lower, upper):
    box = relaxations.Interval(lower[None], upper[None])
    for i, (weight, bias) in enumerate(layers):
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.weight.data, layer.bias.data = weight, bias
        box = relaxations.interval.through(layer, relaxations.interval.through(nn.ReLU(), box) if i else box)
    return box.lower[0].detach(), box.upper[0].detach()

# %% right="interval_network" name="centre and radius, ReLU at the head of the loop"
def interval_network(layers, lower, upper):
    *hidden, (weight, bias) = layers
    for w, b in hidden:
        c, r = (upper + lower) / 2, (upper - lower) / 2
        c, r = w @ c + b, w.abs() @ r
        lower, upper = torch.relu(c - r), torch.relu(c + r)
    c, r = weight @ (upper + lower) / 2 + bias, weight.abs() @ (upper - lower) / 2
    return [c - r, c + r]

# %% right="interval_network" name="recursion"
def interval_network(layers, lower, upper):
    weight, bias = layers[0]
    terms = torch.stack([weight * lower, weight * upper])
    low, high = terms.amin(0).sum(1) + bias, terms.amax(0).sum(1) + bias
    return (low, high) if len(layers) == 1 else interval_network(layers[1:], low.clamp(min=0), high.clamp(min=0))

# %% right="interval_network" name="both ends as two columns of one matrix"
def interval_network(layers, lower, upper):
    ends = torch.stack([lower, upper], dim=1)
    for i, (weight, bias) in enumerate(layers):
        ends = ends.clamp(min=0) if i else ends
        ends = weight.clamp(min=0) @ ends + weight.clamp(max=0) @ ends.flip(1) + bias[:, None]
    return ends.T

# ---------------------------------------------------------------- smallest_leads
# %% wrong="smallest_leads" name="each logit at its own worst" says="Put the question into the weights first"
def smallest_leads(weight, bias, lower, upper, y):
    plus, minus = weight.clamp(min=0), weight.clamp(max=0)
    low, high = plus @ lower + minus @ upper + bias, plus @ upper + minus @ lower + bias
    return low[y] - high

# %% wrong="smallest_leads" name="each logit at its own worst, 0 at y" says="Put the question into the weights first"
def smallest_leads(weight, bias, lower, upper, y):
    plus, minus = weight.clamp(min=0), weight.clamp(max=0)
    low, high = plus @ lower + minus @ upper + bias, plus @ upper + minus @ lower + bias
    leads = low[y] - high
    leads[y] = 0
    return leads

# %% wrong="smallest_leads" name="leads of the others" says="leads of the others over y"
def smallest_leads(weight, bias, lower, upper, y):
    rows, shift = weight - weight[y], bias - bias[y]
    return rows.clamp(min=0) @ lower + rows.clamp(max=0) @ upper + shift

# %% wrong="smallest_leads" name="largest of the others' leads" says="sign is the other way round"
def smallest_leads(weight, bias, lower, upper, y):
    rows, shift = weight - weight[y], bias - bias[y]
    return rows.clamp(min=0) @ upper + rows.clamp(max=0) @ lower + shift

# %% wrong="smallest_leads" name="largest leads" says="largest leads"
def smallest_leads(weight, bias, lower, upper, y):
    rows, shift = weight[y] - weight, bias[y] - bias
    return rows.clamp(min=0) @ upper + rows.clamp(max=0) @ lower + shift

# %% wrong="smallest_leads" name="no biases" says="biases are missing"
def smallest_leads(weight, bias, lower, upper, y):
    rows = weight[y] - weight
    return rows.clamp(min=0) @ lower + rows.clamp(max=0) @ upper

# %% wrong="smallest_leads" name="signs of the weights not looked at" says="upper end where it is below"
def smallest_leads(weight, bias, lower, upper, y):
    return (weight[y] - weight) @ lower + bias[y] - bias

# %% wrong="smallest_leads" name="always class 0" says="y says whose lead it is"
def smallest_leads(weight, bias, lower, upper, y):
    rows, shift = weight[0] - weight, bias[0] - bias
    return rows.clamp(min=0) @ lower + rows.clamp(max=0) @ upper + shift

# %% wrong="smallest_leads" name="without y itself" says="shape"
def smallest_leads(weight, bias, lower, upper, y):
    rows, shift = weight[y] - weight, bias[y] - bias
    leads = rows.clamp(min=0) @ lower + rows.clamp(max=0) @ upper + shift
    return leads[torch.arange(len(leads)) != y]

# %% wrong="smallest_leads" name="weights edited in place" says="edited in place"
def smallest_leads(weight, bias, lower, upper, y):
    own = weight[y].clone()
    weight -= own
    rows, shift = -weight, bias[y] - bias
    return rows.clamp(min=0) @ lower + rows.clamp(max=0) @ upper + shift

# %% wrong="smallest_leads" name="the box through a ReLU" says="A ReLU has slipped in"
def smallest_leads(weight, bias, lower, upper, y):
    rows, lower, upper = weight[y] - weight, lower.relu(), upper.relu()
    return rows.clamp(min=0) @ lower + rows.clamp(max=0) @ upper + bias[y] - bias

# %% wrong="smallest_leads" name="infinity for y itself" says="not infinite"
def smallest_leads(weight, bias, lower, upper, y):
    rows = weight[y] - weight
    leads = rows.clamp(min=0) @ lower + rows.clamp(max=0) @ upper + bias[y] - bias
    leads[y] = math.inf
    return leads

# %% wrong="smallest_leads" name="both ends" says="the smallest leads alone"
def smallest_leads(weight, bias, lower, upper, y):
    rows, shift = weight[y] - weight, bias[y] - bias
    plus, minus = rows.clamp(min=0), rows.clamp(max=0)
    return plus @ lower + minus @ upper + shift, plus @ upper + minus @ lower + shift

# %% wrong="smallest_leads" name="cut off at 0" says="A lead below 0 is cut off"
def smallest_leads(weight, bias, lower, upper, y):
    rows = weight[y] - weight
    return (rows.clamp(min=0) @ lower + rows.clamp(max=0) @ upper + bias[y] - bias).clamp(min=0)

# %% wrong="smallest_leads" name="in float64 whatever comes in" says="Compute in the dtype of the input" most="2.3"
def smallest_leads(weight, bias, lower, upper, y):
    rows = (weight[y] - weight).double()
    return rows.clamp(min=0) @ lower.double() + rows.clamp(max=0) @ upper.double() + bias[y] - bias

# %% right="smallest_leads" name="centre and radius"
def smallest_leads(weight, bias, lower, upper, y):
    rows = weight[y] - weight
    return rows @ (lower + upper) / 2 - rows.abs() @ (upper - lower) / 2 + bias[y] - bias

# %% right="smallest_leads" name="class by class, with where"
def smallest_leads(weight, bias, lower, upper, y):
    leads = torch.zeros_like(bias)
    for j in range(len(bias)):
        row = weight[y] - weight[j]
        leads[j] = (row * torch.where(row > 0, lower, upper)).sum() + bias[y] - bias[j]
    return leads

# %% right="smallest_leads" name="a matrix of differences in front of the layer"
def smallest_leads(weight, bias, lower, upper, y):
    ask = -torch.eye(len(bias), dtype=weight.dtype)
    ask[:, y] += 1
    rows = ask @ weight
    return torch.minimum(rows * lower, rows * upper).sum(dim=1) + ask @ bias

# ---------------------------------------------------------------- relu_lines
# %% wrong="relu_lines" name="slope u / (u + l)" says="divide by the length"
def relu_lines(lower, upper):
    always, crossing = lower >= 0, (lower < 0) & (upper > 0)
    slope = torch.where(crossing, upper / (upper + lower), always.float())
    return slope, torch.where(crossing, -slope * lower, 0.0), (always | (crossing & (upper > -lower))).float()

# %% wrong="relu_lines" name="offset with the wrong sign" says="sign of the offset is wrong"
def relu_lines(lower, upper):
    always, crossing = lower >= 0, (lower < 0) & (upper > 0)
    slope = torch.where(crossing, upper / (upper - lower), always.to(lower.dtype))
    return slope, torch.where(crossing, slope * lower, 0.0), (always | (crossing & (upper > -lower))).to(lower.dtype)

# %% wrong="relu_lines" name="formula of the chord everywhere" says="for open ReLUs only"
def relu_lines(lower, upper):
    slope = upper / (upper - lower + 1e-12)
    return slope, -slope * lower, (upper > -lower).to(lower.dtype)

# %% wrong="relu_lines" name="below the other way round" says="other way round"
def relu_lines(lower, upper):
    always, crossing = lower >= 0, (lower < 0) & (upper > 0)
    slope = torch.where(crossing, upper / (upper - lower), always.to(lower.dtype))
    return slope, torch.where(crossing, -slope * lower, 0.0), (always | (crossing & (upper < -lower))).to(lower.dtype)

# %% wrong="relu_lines" name="0 below every open one" says="slope is 0 everywhere"
def relu_lines(lower, upper):
    always, crossing = lower >= 0, (lower < 0) & (upper > 0)
    slope = torch.where(crossing, upper / (upper - lower), always.to(lower.dtype))
    return slope, torch.where(crossing, -slope * lower, 0.0), always.to(lower.dtype)

# %% wrong="relu_lines" name="chord's slope below" says="chord's slope"
def relu_lines(lower, upper):
    always, crossing = lower >= 0, (lower < 0) & (upper > 0)
    slope = torch.where(crossing, upper / (upper - lower), always.to(lower.dtype))
    return slope, torch.where(crossing, -slope * lower, 0.0), slope

# %% wrong="relu_lines" name="offset forgotten" says="offset is missing"
def relu_lines(lower, upper):
    always, crossing = lower >= 0, (lower < 0) & (upper > 0)
    slope = torch.where(crossing, upper / (upper - lower), always.to(lower.dtype))
    return slope, torch.zeros_like(slope), (always | (crossing & (upper > -lower))).to(lower.dtype)

# %% wrong="relu_lines" name="two of the three" says="Return all three"
def relu_lines(lower, upper):
    slope = torch.where((lower < 0) & (upper > 0), upper / (upper - lower), (lower >= 0).to(lower.dtype))
    return slope, -slope * lower

# %% wrong="relu_lines" name="masked by multiplication: NaN at a point" says="what do you divide by"
def relu_lines(lower, upper):
    crossing = ((lower < 0) & (upper > 0)).to(lower.dtype)
    on = (lower >= 0).to(lower.dtype)
    slope = crossing * upper / (upper - lower) + on
    return slope, -crossing * slope * lower, on + crossing * (upper > -lower).to(lower.dtype)

# %% wrong="relu_lines" name="booleans for the slope below" says="slope_below of dtype bool" most="3.4"
def relu_lines(lower, upper):
    always, crossing = lower >= 0, (lower < 0) & (upper > 0)
    slope = torch.where(crossing, upper / torch.where(crossing, upper - lower, 1.0), always.to(lower.dtype))
    return slope, torch.where(crossing, -slope * lower, 0.0), always | (crossing & (upper > -lower))

# %% wrong="relu_lines" name="the two slopes first" says="The order is slope_above, offset, slope_below"
def relu_lines(lower, upper):
    always, crossing = lower >= 0, (lower < 0) & (upper > 0)
    slope = torch.where(crossing, upper / torch.where(crossing, upper - lower, 1.0), always.to(lower.dtype))
    return slope, (always | (crossing & (upper > -lower))).to(lower.dtype), torch.where(crossing, -slope * lower, 0.0)

# %% wrong="relu_lines" name="the line below first" says="The order is slope_above, offset, slope_below"
def relu_lines(lower, upper):
    always, crossing = lower >= 0, (lower < 0) & (upper > 0)
    slope = torch.where(crossing, upper / torch.where(crossing, upper - lower, 1.0), always.to(lower.dtype))
    return (always | (crossing & (upper > -lower))).to(lower.dtype), slope, torch.where(crossing, -slope * lower, 0.0)

# %% right="relu_lines" name="ends cut at 0 first"
def relu_lines(lower, upper):
    low, high = lower.clamp(max=0), upper.clamp(min=0)
    width = high - low
    slope = torch.where(lower >= 0, torch.ones_like(low), high / width.clamp(min=1e-30))
    below = torch.where(lower >= 0, 1.0, (high > -low).to(lower.dtype))
    return slope, -slope * low, below.to(lower.dtype)

# %% right="relu_lines" name="neuron by neuron"
def relu_lines(lower, upper):
    rows = []
    for l, u in zip(lower.tolist(), upper.tolist()):
        if l >= 0:
            rows.append((1.0, 0.0, 1.0))
        elif u <= 0:
            rows.append((0.0, 0.0, 0.0))
        else:
            rows.append((u / (u - l), -l * u / (u - l), 1.0 if u > -l else 0.0))
    return tuple(torch.tensor(rows, dtype=lower.dtype).T)

# %% right="relu_lines" name="difference quotient of the ReLU"
def relu_lines(lower, upper):
    flat = upper == lower
    quotient = (upper.relu() - lower.relu()) / torch.where(flat, torch.ones_like(lower), upper - lower)
    slope = torch.where(flat, (lower >= 0).to(lower.dtype), quotient)
    slope = torch.where(lower >= 0, torch.ones_like(slope), slope)
    below = torch.where((lower >= 0) | ((upper > 0) & (upper > -lower)), 1.0, 0.0).to(lower.dtype)
    return torch.stack([slope, lower.relu() - slope * lower, below])

# ---------------------------------------------------------------- crown_lower
# %% wrong="crown_lower" name="chord for every neuron" says="above 0 you take the chord"
def crown_lower(w1, b1, w2, b2, x, eps):
    z, r = w1 @ x + b1, eps * w1.abs().sum(1)
    l, u = z - r, z + r
    crossing = (l < 0) & (u > 0)
    s = torch.where(crossing, u / (u - l), (l >= 0).to(x.dtype))
    t = torch.where(crossing, -s * l, 0.0)
    rows = w2 * s
    g = rows @ w1
    return g @ x + rows @ b1 + w2 @ t + b2 - eps * g.abs().sum(1)

# %% wrong="crown_lower" name="line below for every neuron" says="below 0 you take the line below, too"
def crown_lower(w1, b1, w2, b2, x, eps):
    z, r = w1 @ x + b1, eps * w1.abs().sum(1)
    l, u = z - r, z + r
    below = ((l >= 0) | ((u > 0) & (u > -l))).to(x.dtype)
    rows = w2 * below
    g = rows @ w1
    return g @ x + rows @ b1 + b2 - eps * g.abs().sum(1)

# %% wrong="crown_lower" name="interval bounds" says="bounds of intervals"
def crown_lower(w1, b1, w2, b2, x, eps):
    z, r = w1 @ x + b1, eps * w1.abs().sum(1)
    return w2.clamp(min=0) @ (z - r).relu() + w2.clamp(max=0) @ (z + r).relu() + b2

# %% wrong="crown_lower" name="slope 1 below every open neuron" says="slope below is 1 everywhere"
def crown_lower(w1, b1, w2, b2, x, eps):
    z, r = w1 @ x + b1, eps * w1.abs().sum(1)
    l, u = z - r, z + r
    crossing, on = (l < 0) & (u > 0), (l >= 0).to(x.dtype)
    s = torch.where(crossing, u / (u - l), on)
    t = torch.where(crossing, -s * l, 0.0)
    plus, minus = w2.clamp(min=0), w2.clamp(max=0)
    rows = plus * torch.where(crossing, 1.0, on) + minus * s
    g = rows @ w1
    return g @ x + rows @ b1 + minus @ t + b2 - eps * g.abs().sum(1)

# %% wrong="crown_lower" name="offsets of the chords forgotten" says="offsets of the chords are missing"
def crown_lower(w1, b1, w2, b2, x, eps):
    z, r = w1 @ x + b1, eps * w1.abs().sum(1)
    l, u = z - r, z + r
    crossing, on = (l < 0) & (u > 0), (l >= 0).to(x.dtype)
    s = torch.where(crossing, u / (u - l), on)
    rows = w2.clamp(min=0) * torch.where(crossing, (u > -l).to(x.dtype), on) + w2.clamp(max=0) * s
    g = rows @ w1
    return g @ x + rows @ b1 + b2 - eps * g.abs().sum(1)

# %% wrong="crown_lower" name="b1 forgotten" says="b1 is missing"
def crown_lower(w1, b1, w2, b2, x, eps):
    z, r = w1 @ x + b1, eps * w1.abs().sum(1)
    l, u = z - r, z + r
    crossing, on = (l < 0) & (u > 0), (l >= 0).to(x.dtype)
    s = torch.where(crossing, u / (u - l), on)
    plus, minus = w2.clamp(min=0), w2.clamp(max=0)
    g = (plus * torch.where(crossing, (u > -l).to(x.dtype), on) + minus * s) @ w1
    return g @ x + minus @ torch.where(crossing, -s * l, 0.0) + b2 - eps * g.abs().sum(1)

# %% wrong="crown_lower" name="L2 norm at the end" says="takes the L2 norm"
def crown_lower(w1, b1, w2, b2, x, eps):
    z, r = w1 @ x + b1, eps * w1.abs().sum(1)
    l, u = z - r, z + r
    crossing, on = (l < 0) & (u > 0), (l >= 0).to(x.dtype)
    s = torch.where(crossing, u / (u - l), on)
    plus, minus = w2.clamp(min=0), w2.clamp(max=0)
    rows = plus * torch.where(crossing, (u > -l).to(x.dtype), on) + minus * s
    g = rows @ w1
    return g @ x + rows @ b1 + minus @ torch.where(crossing, -s * l, 0.0) + b2 - eps * g.norm(dim=1)

# %% wrong="crown_lower" name="no eps at the end" says="the linear function at x"
def crown_lower(w1, b1, w2, b2, x, eps):
    z, r = w1 @ x + b1, eps * w1.abs().sum(1)
    l, u = z - r, z + r
    crossing, on = (l < 0) & (u > 0), (l >= 0).to(x.dtype)
    s = torch.where(crossing, u / (u - l), on)
    plus, minus = w2.clamp(min=0), w2.clamp(max=0)
    rows = plus * torch.where(crossing, (u > -l).to(x.dtype), on) + minus * s
    return rows @ z + minus @ torch.where(crossing, -s * l, 0.0) + b2

# %% wrong="crown_lower" name="called from the package" says="asks you to write yourself"
def crown_lower(w1, b1, w2, b2, x, eps):
    first, last = nn.Linear(w1.shape[1], w1.shape[0]), nn.Linear(w2.shape[1], w2.shape[0])
    for layer, w, b in ((first, w1, b1), (last, w2, b2)):
        layer.weight.data, layer.bias.data = w, b
    box = relaxations.bounds(nn.Sequential(first, nn.ReLU(), last), x[None], LpBall(eps, math.inf, (-math.inf, math.inf)), "crown")
    return box.lower[0].detach()

# %% wrong="crown_lower" name="intervals and some air" says="Sound, but not CROWN"
def crown_lower(w1, b1, w2, b2, x, eps):
    z, r = w1 @ x + b1, eps * w1.abs().sum(1)
    return w2.clamp(min=0) @ (z - r).relu() + w2.clamp(max=0) @ (z + r).relu() + b2 - 1e-3

# %% wrong="crown_lower" name="eps for the radius of the neurons" says="You take eps itself"
def crown_lower(w1, b1, w2, b2, x, eps):
    z, r = w1 @ x + b1, eps
    l, u = z - r, z + r
    crossing, on = (l < 0) & (u > 0), (l >= 0).to(x.dtype)
    s = torch.where(crossing, u / torch.where(crossing, u - l, 1.0), on)
    t = torch.where(crossing, -s * l, 0.0)
    plus, minus = w2.clamp(min=0), w2.clamp(max=0)
    rows = plus * torch.where(crossing, (u > -l).to(x.dtype), on) + minus * s
    g = rows @ w1
    return g @ x + rows @ b1 + minus @ t + b2 - eps * g.abs().sum(1)

# %% wrong="crown_lower" name="ends of the box for the ends of the neurons" says="bounds of the neurons are too narrow: the radius is eps * sum |w1|"
def crown_lower(w1, b1, w2, b2, x, eps):
    z, r = w1 @ x + b1, (eps * w1.sum(1)).abs()
    l, u = z - r, z + r
    crossing, on = (l < 0) & (u > 0), (l >= 0).to(x.dtype)
    s = torch.where(crossing, u / torch.where(crossing, u - l, 1.0), on)
    t = torch.where(crossing, -s * l, 0.0)
    plus, minus = w2.clamp(min=0), w2.clamp(max=0)
    rows = plus * torch.where(crossing, (u > -l).to(x.dtype), on) + minus * s
    g = rows @ w1
    return g @ x + rows @ b1 + minus @ t + b2 - eps * g.abs().sum(1)

# %% wrong="crown_lower" name="L2 norm for the radius of the neurons" says="You take the L2 norm of the row"
def crown_lower(w1, b1, w2, b2, x, eps):
    z, r = w1 @ x + b1, eps * w1.norm(dim=1)
    l, u = z - r, z + r
    crossing, on = (l < 0) & (u > 0), (l >= 0).to(x.dtype)
    s = torch.where(crossing, u / torch.where(crossing, u - l, 1.0), on)
    t = torch.where(crossing, -s * l, 0.0)
    plus, minus = w2.clamp(min=0), w2.clamp(max=0)
    rows = plus * torch.where(crossing, (u > -l).to(x.dtype), on) + minus * s
    g = rows @ w1
    return g @ x + rows @ b1 + minus @ t + b2 - eps * g.abs().sum(1)

# %% wrong="crown_lower" name="neurons without b1" says="b1 is missing in the bounds of the neurons"
def crown_lower(w1, b1, w2, b2, x, eps):
    z, r = w1 @ x, eps * w1.abs().sum(1)
    l, u = z - r, z + r
    crossing, on = (l < 0) & (u > 0), (l >= 0).to(x.dtype)
    s = torch.where(crossing, u / torch.where(crossing, u - l, 1.0), on)
    t = torch.where(crossing, -s * l, 0.0)
    plus, minus = w2.clamp(min=0), w2.clamp(max=0)
    rows = plus * torch.where(crossing, (u > -l).to(x.dtype), on) + minus * s
    g = rows @ w1
    return g @ x + rows @ b1 + minus @ t + b2 - eps * g.abs().sum(1)

# %% wrong="crown_lower" name="one norm for all rows" says="adds up all rows together"
def crown_lower(w1, b1, w2, b2, x, eps):
    z, r = w1 @ x + b1, eps * w1.abs().sum(1)
    l, u = z - r, z + r
    crossing, on = (l < 0) & (u > 0), (l >= 0).to(x.dtype)
    s = torch.where(crossing, u / torch.where(crossing, u - l, 1.0), on)
    t = torch.where(crossing, -s * l, 0.0)
    plus, minus = w2.clamp(min=0), w2.clamp(max=0)
    rows = plus * torch.where(crossing, (u > -l).to(x.dtype), on) + minus * s
    g = rows @ w1
    return g @ x + rows @ b1 + minus @ t + b2 - eps * g.abs().sum()

# %% wrong="crown_lower" name="norms of columns" says="adds up columns"
def crown_lower(w1, b1, w2, b2, x, eps):
    z, r = w1 @ x + b1, eps * w1.abs().sum(1)
    l, u = z - r, z + r
    crossing, on = (l < 0) & (u > 0), (l >= 0).to(x.dtype)
    s = torch.where(crossing, u / torch.where(crossing, u - l, 1.0), on)
    t = torch.where(crossing, -s * l, 0.0)
    plus, minus = w2.clamp(min=0), w2.clamp(max=0)
    rows = plus * torch.where(crossing, (u > -l).to(x.dtype), on) + minus * s
    g = rows @ w1
    return g @ x + rows @ b1 + minus @ t + b2 - eps * g.abs().sum(0)

# %% wrong="crown_lower" name="offsets with all weights" says="offsets meet all of w2"
def crown_lower(w1, b1, w2, b2, x, eps):
    z, r = w1 @ x + b1, eps * w1.abs().sum(1)
    l, u = z - r, z + r
    crossing, on = (l < 0) & (u > 0), (l >= 0).to(x.dtype)
    s = torch.where(crossing, u / torch.where(crossing, u - l, 1.0), on)
    t = torch.where(crossing, -s * l, 0.0)
    plus, minus = w2.clamp(min=0), w2.clamp(max=0)
    rows = plus * torch.where(crossing, (u > -l).to(x.dtype), on) + minus * s
    g = rows @ w1
    return g @ x + rows @ b1 + w2 @ t + b2 - eps * g.abs().sum(1)

# %% wrong="crown_lower" name="b1 with w2" says="b1 meets w2"
def crown_lower(w1, b1, w2, b2, x, eps):
    z, r = w1 @ x + b1, eps * w1.abs().sum(1)
    l, u = z - r, z + r
    crossing, on = (l < 0) & (u > 0), (l >= 0).to(x.dtype)
    s = torch.where(crossing, u / torch.where(crossing, u - l, 1.0), on)
    t = torch.where(crossing, -s * l, 0.0)
    plus, minus = w2.clamp(min=0), w2.clamp(max=0)
    rows = plus * torch.where(crossing, (u > -l).to(x.dtype), on) + minus * s
    g = rows @ w1
    return g @ x + w2 @ b1 + minus @ t + b2 - eps * g.abs().sum(1)

# %% wrong="crown_lower" name="no step 3" says="Step 3 is missing"
def crown_lower(w1, b1, w2, b2, x, eps):
    z, r = w1 @ x + b1, eps * w1.abs().sum(1)
    l, u = z - r, z + r
    crossing, on = (l < 0) & (u > 0), (l >= 0).to(x.dtype)
    s = torch.where(crossing, u / torch.where(crossing, u - l, 1.0), on)
    t = torch.where(crossing, -s * l, 0.0)
    plus, minus = w2.clamp(min=0), w2.clamp(max=0)
    rows = plus * torch.where(crossing, (u > -l).to(x.dtype), on) + minus * s
    g = rows @ w1
    return rows.clamp(min=0) @ l + rows.clamp(max=0) @ u + minus @ t + b2

# %% wrong="crown_lower" name="the better of CROWN and intervals" says="only its four steps are asked for"
def crown_lower(w1, b1, w2, b2, x, eps):
    z, r = w1 @ x + b1, eps * w1.abs().sum(1)
    l, u = z - r, z + r
    crossing, on = (l < 0) & (u > 0), (l >= 0).to(x.dtype)
    s = torch.where(crossing, u / torch.where(crossing, u - l, 1.0), on)
    t = torch.where(crossing, -s * l, 0.0)
    plus, minus = w2.clamp(min=0), w2.clamp(max=0)
    rows = plus * torch.where(crossing, (u > -l).to(x.dtype), on) + minus * s
    g = rows @ w1
    boxes = plus @ l.relu() + minus @ u.relu() + b2
    return torch.maximum(boxes, g @ x + rows @ b1 + minus @ t + b2 - eps * g.abs().sum(1))

# %% wrong="crown_lower" name="upper bounds" says="These are upper bounds"
def crown_lower(w1, b1, w2, b2, x, eps):
    z, r = w1 @ x + b1, eps * w1.abs().sum(1)
    l, u = z - r, z + r
    crossing, on = (l < 0) & (u > 0), (l >= 0).to(x.dtype)
    s = torch.where(crossing, u / torch.where(crossing, u - l, 1.0), on)
    plus, minus = w2.clamp(min=0), w2.clamp(max=0)
    rows = plus * s + minus * torch.where(crossing, (u > -l).to(x.dtype), on)
    g = rows @ w1
    return g @ x + rows @ b1 + plus @ torch.where(crossing, -s * l, 0.0) + b2 + eps * g.abs().sum(1)

# %% wrong="crown_lower" name="the smallest of the corners" says="smallest output at the corners"
def crown_lower(w1, b1, w2, b2, x, eps):
    ends = torch.tensor([-eps, eps], dtype=x.dtype)
    corners = x + torch.cartesian_prod(*[ends] * len(x)).reshape(-1, len(x)) if len(x) < 8 else x[None]
    return ((corners @ w1.T + b1).relu() @ w2.T + b2).amin(0)

# %% wrong="crown_lower" name="in float64 whatever comes in" says="Compute in the dtype of the input" most="4.2"
def crown_lower(w1, b1, w2, b2, x, eps):
    w1, b1, w2, b2, x = (one.double() for one in (w1, b1, w2, b2, x))
    z, r = w1 @ x + b1, eps * w1.abs().sum(1)
    l, u = z - r, z + r
    crossing, on = (l < 0) & (u > 0), (l >= 0).to(x.dtype)
    s = torch.where(crossing, u / torch.where(crossing, u - l, 1.0), on)
    plus, minus = w2.clamp(min=0), w2.clamp(max=0)
    rows = plus * torch.where(crossing, (u > -l).to(x.dtype), on) + minus * s
    g = rows @ w1
    return g @ x + rows @ b1 + minus @ torch.where(crossing, -s * l, 0.0) + b2 - eps * g.abs().sum(1)

# %% right="crown_lower" name="output by output, neuron by neuron"
def crown_lower(w1, b1, w2, b2, x, eps):
    bounds = []
    for row, constant in zip(w2, b2):
        g, c = torch.zeros_like(x), constant
        for i, w in enumerate(row):
            middle, reach = w1[i] @ x + b1[i], eps * w1[i].abs().sum()
            l, u = (middle - reach).item(), (middle + reach).item()
            if l >= 0:
                slope, offset = 1.0, 0.0
            elif u <= 0:
                slope, offset = 0.0, 0.0
            elif w < 0:
                slope, offset = u / (u - l), -l * u / (u - l)
            else:
                slope, offset = float(u > -l), 0.0
            g, c = g + w * slope * w1[i], c + w * (slope * b1[i] + offset)
        bounds.append(g @ x + c - eps * g.abs().sum())
    return torch.stack(bounds)

# %% right="crown_lower" name="lines chosen with where, worst corner put in"
def crown_lower(w1, b1, w2, b2, x, eps):
    z, r = w1 @ x + b1, eps * w1.abs().sum(1)
    l, u = z - r, z + r
    cut_l, cut_u = l.clamp(max=0), u.clamp(min=0)
    chord = torch.where(l >= 0, torch.ones_like(l), cut_u / (cut_u - cut_l).clamp(min=1e-30))
    foot = torch.where(l >= 0, torch.ones_like(l), (cut_u > -cut_l).to(l.dtype))
    rows = torch.where(w2 < 0, w2 * chord, w2 * foot)
    shift = torch.where(w2 < 0, -w2 * chord * cut_l, torch.zeros_like(w2)).sum(1)
    g = rows @ w1
    corner = x - eps * g.sign()
    return (g * corner).sum(1) + rows @ b1 + shift + b2

# %% right="crown_lower" name="minus the upper bound of minus the output"
def crown_lower(w1, b1, w2, b2, x, eps):
    lower = w1.clamp(min=0) @ (x - eps) + w1.clamp(max=0) @ (x + eps) + b1
    upper = w1.clamp(min=0) @ (x + eps) + w1.clamp(max=0) @ (x - eps) + b1
    off, on = upper <= 0, lower >= 0
    between = ~off & ~on
    slope = torch.where(between, upper / torch.where(between, upper - lower, 1.0), on.to(x.dtype))
    alpha = torch.where(between, (upper >= -lower).to(x.dtype), on.to(x.dtype))
    minus_w = -w2
    rows = minus_w.clamp(min=0) * slope + minus_w.clamp(max=0) * alpha
    constant = minus_w.clamp(min=0) @ torch.where(between, -slope * lower, 0.0) + rows @ b1 - b2
    g = rows @ w1
    return -(g.clamp(min=0) @ (x + eps) + g.clamp(max=0) @ (x - eps) + constant)

# ---------------------------------------------------------------- in_triangle
# %% wrong="in_triangle" name="no bottom edge" says="bottom edge is missing"
def in_triangle(z, a, l, u):
    return (a >= z) & (a <= u * (z - l) / (u - l))

# %% wrong="in_triangle" name="no edge a >= z" says="a >= z is missing"
def in_triangle(z, a, l, u):
    return (a >= 0) & (a <= u * (z - l) / (u - l))

# %% wrong="in_triangle" name="no chord" says="chord, is missing"
def in_triangle(z, a, l, u):
    return (a >= 0) & (a >= z)

# %% wrong="in_triangle" name="the ReLU itself" says="more than the ReLU itself"
def in_triangle(z, a, l, u):
    return (a - z.clamp(min=0)).abs() < 1e-6

# %% wrong="in_triangle" name="or instead of and" says="All three have to hold"
def in_triangle(z, a, l, u):
    return (a >= 0) | (a >= z) | (a <= u * (z - l) / (u - l))

# %% wrong="in_triangle" name="chord through the origin" says="goes from (l, 0) to (u, u)"
def in_triangle(z, a, l, u):
    return (a >= z.relu()) & (a <= u / (u - l) * z)

# %% wrong="in_triangle" name="zeros and ones" says="booleans"
def in_triangle(z, a, l, u):
    return ((a >= 0) & (a >= z) & (a <= u * (z - l) / (u - l))).float()

# %% wrong="in_triangle" name="and of Python" says="one truth value"
def in_triangle(z, a, l, u):
    return a >= 0 and a >= z and a <= u * (z - l) / (u - l)

# %% wrong="in_triangle" name="outside" says="swapped"
def in_triangle(z, a, l, u):
    return ~((a >= 0) & (a >= z) & (a <= u * (z - l) / (u - l)))

# %% wrong="in_triangle" name="no parentheses" says="binds more tightly"
def in_triangle(z, a, l, u):
    return a >= 0 & a >= z & a <= u * (z - l) / (u - l)

# %% wrong="in_triangle" name="below the line a = z" says="The edge is a >= z"
def in_triangle(z, a, l, u):
    return (a >= 0) & (a <= z) & (a <= u * (z - l) / (u - l))

# %% wrong="in_triangle" name="z edited in place" says="edited in place" most="1.5"
def in_triangle(z, a, l, u):
    above = (a >= 0) & (a >= z)
    z -= l
    return above & (a <= u * z / (u - l))

# %% wrong="in_triangle" name="one answer for all points" says="One answer for each point"
def in_triangle(z, a, l, u):
    return ((a >= 0) & (a >= z) & (a <= u * (z - l) / (u - l))).all()

# %% right="in_triangle" name="between the ReLU and the chord"
def in_triangle(z, a, l, u):
    return (torch.relu(z) <= a) & ((u - l) * a <= u * (z - l))

# %% right="in_triangle" name="signs of three cross products"
def in_triangle(z, a, l, u):
    corners = [(l, 0.0), (0.0, 0.0), (u, u)]
    sides = []
    for (p, q), (s, t) in zip(corners, corners[1:] + corners[:1]):
        sides.append((s - p) * (a - q) - (t - q) * (z - p) >= 0)
    return sides[0] & sides[1] & sides[2]

# %% right="in_triangle" name="point by point"
def in_triangle(z, a, l, u):
    return torch.tensor([max(p, 0.0) <= q <= u * (p - l) / (u - l) for p, q in zip(z.tolist(), a.tolist())], dtype=torch.bool)

# ---------------------------------------------------------------- worst_loss
# %% wrong="worst_loss" name="best case" says="smallest loss that the bounds allow"
def worst_loss(lower, upper, y):
    own = torch.nn.functional.one_hot(y, lower.shape[1]).bool()
    return torch.nn.functional.cross_entropy(torch.where(own, upper, lower), y, reduction="none")

# %% wrong="worst_loss" name="lower ends" says="at their lower ends"
def worst_loss(lower, upper, y):
    return torch.nn.functional.cross_entropy(lower, y, reduction="none")

# %% wrong="worst_loss" name="upper ends" says="at their upper ends"
def worst_loss(lower, upper, y):
    return torch.nn.functional.cross_entropy(upper, y, reduction="none")

# %% wrong="worst_loss" name="the middle" says="in the middle"
def worst_loss(lower, upper, y):
    return torch.nn.functional.cross_entropy((lower + upper) / 2, y, reduction="none")

# %% wrong="worst_loss" name="the larger of two" says="larger of the losses at the two ends"
def worst_loss(lower, upper, y):
    ends = [torch.nn.functional.cross_entropy(end, y, reduction="none") for end in (lower, upper)]
    return torch.maximum(*ends)

# %% wrong="worst_loss" name="averaged" says="mean or a sum"
def worst_loss(lower, upper, y):
    own = torch.nn.functional.one_hot(y, lower.shape[1]).bool()
    return torch.nn.functional.cross_entropy(torch.where(own, lower, upper), y)

# %% wrong="worst_loss" name="every column of y at once" says="columns of all labels"
def worst_loss(lower, upper, y):
    worst = upper.clone()
    worst[:, y] = lower[:, y]
    return torch.nn.functional.cross_entropy(worst, y, reduction="none")

# %% wrong="worst_loss" name="upper edited in place" says="edited in place"
def worst_loss(lower, upper, y):
    rows = torch.arange(len(y))
    upper[rows, y] = lower[rows, y]
    return torch.nn.functional.cross_entropy(upper, y, reduction="none")

# %% wrong="worst_loss" name="exponentials by hand" says="NaN or infinite"
def worst_loss(lower, upper, y):
    rows = torch.arange(len(y))
    worst = upper.clone()
    worst[rows, y] = lower[rows, y]
    return -(worst.exp()[rows, y] / worst.exp().sum(1)).log()

# %% wrong="worst_loss" name="log-probability" says="sign is wrong"
def worst_loss(lower, upper, y):
    rows = torch.arange(len(y))
    worst = upper.clone()
    worst[rows, y] = lower[rows, y]
    return worst.log_softmax(1)[rows, y]

# %% wrong="worst_loss" name="one_hot counts the classes itself" says="tell it how many there are"
def worst_loss(lower, upper, y):
    own = torch.nn.functional.one_hot(y).bool()
    return torch.nn.functional.cross_entropy(torch.where(own, lower, upper), y, reduction="none")

# %% wrong="worst_loss" name="a batch of one squeezed away" says="One loss for each image"
def worst_loss(lower, upper, y):
    own = torch.nn.functional.one_hot(y, lower.shape[1]).bool()
    return torch.nn.functional.cross_entropy(torch.where(own, lower, upper), y, reduction="none").squeeze()

# %% wrong="worst_loss" name="one-hot of whole numbers as a mask" says="mask of booleans"
def worst_loss(lower, upper, y):
    own = torch.nn.functional.one_hot(y, lower.shape[1])
    return torch.nn.functional.cross_entropy(torch.where(own, lower, upper), y, reduction="none")

# %% wrong="worst_loss" name="softmax twice" says="which takes one itself"
def worst_loss(lower, upper, y):
    own = torch.nn.functional.one_hot(y, lower.shape[1]).bool()
    return torch.nn.functional.cross_entropy(torch.where(own, lower, upper).softmax(dim=1), y, reduction="none")

# %% wrong="worst_loss" name="softmax over the images" says="goes over the images"
def worst_loss(lower, upper, y):
    own = torch.nn.functional.one_hot(y, lower.shape[1]).bool()
    return -torch.where(own, lower, upper).log_softmax(dim=0)[torch.arange(len(y)), y]

# %% wrong="worst_loss" name="in float64 whatever comes in" says="Compute in the dtype of the input" most="2.5"
def worst_loss(lower, upper, y):
    own = torch.nn.functional.one_hot(y, lower.shape[1]).bool()
    return torch.nn.functional.cross_entropy(torch.where(own, lower, upper).double(), y, reduction="none")

# %% right="worst_loss" name="scatter and logsumexp"
def worst_loss(lower, upper, y):
    own = lower.gather(1, y[:, None])
    return upper.scatter(1, y[:, None], own).logsumexp(1) - own.squeeze(1)

# %% right="worst_loss" name="softplus of the others, image by image"
def worst_loss(lower, upper, y):
    rows = []
    for low, high, label in zip(lower, upper, y.tolist()):
        others = torch.cat([high[:label], high[label + 1 :]])
        rows.append(torch.nn.functional.softplus(others.logsumexp(0) - low[label], threshold=100))
    return torch.stack(rows)

# %% right="worst_loss" name="one-hot arithmetic"
def worst_loss(lower, upper, y):
    onehot = torch.nn.functional.one_hot(y, lower.shape[1]).to(lower.dtype)
    worst = onehot * lower + (1 - onehot) * upper
    return -(onehot * worst.log_softmax(dim=1)).sum(dim=1)
