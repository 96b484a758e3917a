# Answers to assignment `lipschitz` as students write them. Each cell stands in for one solution cell.
# wrong: must lose points, and `says` must appear in what the check shows. right: must get full points.

# ---------------------------------------------------------------- operator_norm
# %% wrong="operator_norm" name="rows and columns exchanged" says="right for p = 1"
def operator_norm(W, p):
    return W.abs().sum(dim=0 if p == math.inf else 1).max().item()

# %% wrong="operator_norm" name="rows for both" says="right for p = inf"
def operator_norm(W, p):
    return W.abs().sum(dim=1).max()

# %% wrong="operator_norm" name="no absolute values" says="Without absolute values"
def operator_norm(W, p):
    return W.sum(dim=1 if p == math.inf else 0).max()

# %% wrong="operator_norm" name="absolute value after the sum" says="Without absolute values"
def operator_norm(W, p):
    return W.sum(dim=1 if p == math.inf else 0).abs().max()

# %% wrong="operator_norm" name="torch's entrywise norm" says="the largest entry"
def operator_norm(W, p):
    return torch.linalg.vector_norm(W, ord=p)

# %% wrong="operator_norm" name="Frobenius" says="Frobenius"
def operator_norm(W, p):
    return (W**2).sum().sqrt()

# %% wrong="operator_norm" name="the spectral norm for all" says="norm for p = 2"
def operator_norm(W, p):
    return torch.linalg.svdvals(W)[0]

# %% wrong="operator_norm" name="the smallest row" says="smallest row"
def operator_norm(W, p):
    return W.abs().sum(dim=1 if p == math.inf else 0).min()

# %% wrong="operator_norm" name="torch does it" says="write yourself"
def operator_norm(W, p):
    return torch.linalg.matrix_norm(W, ord=p)

# %% wrong="operator_norm" name="one number for each row" says="one number"
def operator_norm(W, p):
    return W.abs().sum(dim=1 if p == math.inf else 0)

# %% wrong="operator_norm" name="no return" says="forget a return"
def operator_norm(W, p):
    norm = W.abs().sum(dim=1 if p == math.inf else 0).max()

# %% wrong="operator_norm" name="numpy does it" says="write yourself"
import numpy as np

def operator_norm(W, p):
    return np.linalg.norm(W.numpy(), ord=p)

# %% wrong="operator_norm" name="always p = 1 for one row" says="The matrix is (1, 4)"
def operator_norm(W, p):
    return W.abs().sum(dim=1 if p == math.inf and len(W) > 1 else 0).max()

# %% right="operator_norm" name="numpy"
import numpy as np

def operator_norm(W, p):
    return np.abs(W.numpy()).sum(axis=-1 if np.isinf(p) else -2).max()

# %% right="operator_norm" name="all corners and all basis vectors for small matrices, else loops"
def operator_norm(W, p):
    rows = (W if p == math.inf else W.T).tolist()
    return max(sum(abs(w) for w in row) for row in rows)

# %% right="operator_norm" name="the best sign vector goes through the matrix"
def operator_norm(W, p):
    if p == 1:
        return max(column.abs().sum() for column in W.T)
    return max((W @ row.sign()).abs().max() if row.any() else W.new_zeros(()) for row in W)

# ---------------------------------------------------------------- power_iteration
# %% wrong="power_iteration" name="start not scaled" says="length one"
def power_iteration(W, v, steps):
    for _ in range(steps):
        v = W.T @ (W @ v)
        if not v.any():
            return 0.0
        v = v / v.norm()
    return (W @ v).norm().item()

# %% wrong="power_iteration" name="no scaling in between" says="in every step"
def power_iteration(W, v, steps):
    for _ in range(steps):
        v = W.T @ (W @ v)
    length = v.norm()
    return 0.0 if length == 0 else ((W @ v).norm() / length).item()

# %% wrong="power_iteration" name="NaN for a start in the kernel" says="not 0"
def power_iteration(W, v, steps):
    v = v / v.norm()
    for _ in range(steps):
        v = W.T @ (W @ v)
        v = v / v.norm()
    return (W @ v).norm().item()

# %% wrong="power_iteration" name="the eigenvalue" says="square"
def power_iteration(W, v, steps):
    v = v / v.norm()
    for _ in range(steps):
        v = W.T @ (W @ v)
        if not v.any():
            return 0.0
        v = v / v.norm()
    return (W @ v).norm().item() ** 2

# %% wrong="power_iteration" name="one step too many" says="one step too many"
def power_iteration(W, v, steps):
    v = v / v.norm()
    for _ in range(steps + 1):
        v = W.T @ (W @ v)
        if not v.any():
            return 0.0
        v = v / v.norm()
    return (W @ v).norm().item()

# %% wrong="power_iteration" name="one step too few" says="one step too few"
def power_iteration(W, v, steps):
    v = v / v.norm()
    for _ in range(steps - 1):
        v = W.T @ (W @ v)
        if not v.any():
            return 0.0
        v = v / v.norm()
    return (W @ v).norm().item()

# %% wrong="power_iteration" name="without the transpose" says="W alone"
def power_iteration(W, v, steps):
    v = v / v.norm()
    for _ in range(steps):
        v = W @ v
        if not v.any():
            return 0.0
        v = v / v.norm()
    return (W @ v).norm().item()

# %% wrong="power_iteration" name="always a hundred steps" says="as many as"
def power_iteration(W, v, steps):
    v = v / v.norm()
    for _ in range(100):
        v = W.T @ (W @ v)
        if not v.any():
            return 0.0
        v = v / v.norm()
    return (W @ v).norm().item()

# %% wrong="power_iteration" name="singular values" says="write yourself"
def power_iteration(W, v, steps):
    return torch.linalg.svdvals(W)[0].item()

# %% wrong="power_iteration" name="the vector is returned" says="one number"
def power_iteration(W, v, steps):
    v = v / v.norm()
    for _ in range(steps):
        v = W.T @ (W @ v)
        v = v / v.norm().clamp_min(1e-30)
    return W @ v

# %% wrong="power_iteration" name="v edited in place" says="edited in place"
def power_iteration(W, v, steps):
    v /= v.norm()
    for _ in range(steps):
        v = W.T @ (W @ v)
        if not v.any():
            return 0.0
        v = v / v.norm()
    return (W @ v).norm().item()

# %% wrong="power_iteration" name="W W^T in each step, W in the end" says="inputs to inputs"
def power_iteration(W, v, steps):
    v = v / v.norm()
    for _ in range(steps):
        v = W @ (W.T @ v)
        if not v.any():
            return 0.0
        v = v / v.norm()
    return (W @ v).norm().item()

# %% wrong="power_iteration" name="W W^T, seen at the start in the kernel" says="multiply with W first"
def power_iteration(W, v, steps):
    v = v / v.norm()
    for _ in range(steps):
        v = W @ (W.T @ v)
        v = v / v.norm()
    return (W @ v).norm().item()

# %% wrong="power_iteration" name="the transpose of W throughout" says="for the transpose"
def power_iteration(W, v, steps):
    v = v / v.norm()
    for _ in range(steps):
        v = W @ (W.T @ v)
        v = v / v.norm()
    return (W.T @ v).norm().item()

# %% wrong="power_iteration" name="a cut-off instead of 0" says="Only a length of exactly 0"
def power_iteration(W, v, steps):
    v = v / v.norm()
    for _ in range(steps):
        v = W.T @ (W @ v)
        n = v.norm()
        if n < 1e-6:
            return 0.0
        v = v / n
    return (W @ v).norm().item()

# %% wrong="power_iteration" name="a small number added to the length" says="nothing added to the length"
def power_iteration(W, v, steps):
    v = v / v.norm()
    for _ in range(steps):
        v = W.T @ (W @ v)
        v = v / (v.norm() + 1e-6)
    return (W @ v).norm().item()

# %% wrong="power_iteration" name="the length of v" says="The last product is missing"
def power_iteration(W, v, steps):
    v = v / v.norm()
    for _ in range(steps):
        v = W.T @ (W @ v)
        if not v.any():
            return 0.0
        v = v / v.norm()
    return v.norm().item()

# %% right="power_iteration" name="the small matrix first"
def power_iteration(W, v, steps):
    A = W.T @ W
    v = torch.nn.functional.normalize(v, dim=0)
    for _ in range(steps):
        v = torch.nn.functional.normalize(A @ v, dim=0)
    return float((v @ A @ v).clamp_min(0).sqrt())

# %% right="power_iteration" name="with a column vector and autograd"
def power_iteration(W, v, steps):
    v = v.reshape(-1, 1) / v.abs().max()
    for _ in range(steps):
        v = (v / torch.linalg.norm(v)).detach().requires_grad_()
        (v,) = torch.autograd.grad(0.5 * (W @ v).pow(2).sum(), v)
        if torch.linalg.norm(v) == 0:
            return 0
    return torch.linalg.norm(W @ v) / torch.linalg.norm(v)

# %% right="power_iteration" name="numpy"
import numpy as np

def power_iteration(W, v, steps):
    W, v = W.numpy().astype(np.float64), v.numpy().astype(np.float64)
    for _ in range(steps):
        v = v / np.linalg.norm(v)
        v = W.T.dot(W.dot(v))
        if np.linalg.norm(v) == 0:
            return 0.0
    return np.linalg.norm(W.dot(v)) / np.linalg.norm(v)

# ---------------------------------------------------------------- conv_matrix
# %% wrong="conv_matrix" name="the transpose" says="transpose"
def conv_matrix(weight, size, stride, padding):
    n = weight.shape[1] * size[0] * size[1]
    basis = torch.eye(n, dtype=weight.dtype).view(n, weight.shape[1], *size)
    return nn.functional.conv2d(basis, weight, stride=stride, padding=padding).flatten(1)

# %% wrong="conv_matrix" name="no padding" says="the stride and the padding"
def conv_matrix(weight, size, stride, padding):
    n = weight.shape[1] * size[0] * size[1]
    basis = torch.eye(n, dtype=weight.dtype).view(n, weight.shape[1], *size)
    return nn.functional.conv2d(basis, weight, stride=stride).flatten(1).T

# %% wrong="conv_matrix" name="no stride" says="the stride and the padding"
def conv_matrix(weight, size, stride, padding):
    n = weight.shape[1] * size[0] * size[1]
    basis = torch.eye(n, dtype=weight.dtype).view(n, weight.shape[1], *size)
    return nn.functional.conv2d(basis, weight, padding=padding).flatten(1).T

# %% wrong="conv_matrix" name="the kernel turned round" says="turned round"
def conv_matrix(weight, size, stride, padding):
    n = weight.shape[1] * size[0] * size[1]
    basis = torch.eye(n, dtype=weight.dtype).view(n, weight.shape[1], *size)
    return nn.functional.conv2d(basis, weight.flip(2, 3), stride=stride, padding=padding).flatten(1).T

# %% wrong="conv_matrix" name="one channel only" says="channel"
def conv_matrix(weight, size, stride, padding):
    n = size[0] * size[1]
    basis = torch.eye(n, dtype=weight.dtype).view(n, 1, *size)
    return nn.functional.conv2d(basis, weight, stride=stride, padding=padding).flatten(1).T

# %% wrong="conv_matrix" name="pixel by pixel" says="channel by channel"
def conv_matrix(weight, size, stride, padding):
    n = weight.shape[1] * size[0] * size[1]
    basis = torch.eye(n, dtype=weight.dtype).view(n, weight.shape[1], *size)
    return nn.functional.conv2d(basis, weight, stride=stride, padding=padding).permute(0, 2, 3, 1).flatten(1).T

# %% wrong="conv_matrix" name="the kernel laid out" says="Rows are outputs"
def conv_matrix(weight, size, stride, padding):
    return weight.flatten(1)

# %% wrong="conv_matrix" name="always float32" says="dtype float32"
def conv_matrix(weight, size, stride, padding):
    n = weight.shape[1] * size[0] * size[1]
    basis = torch.eye(n).view(n, weight.shape[1], *size)
    return nn.functional.conv2d(basis, weight.float(), stride=stride, padding=padding).flatten(1).T

# %% wrong="conv_matrix" name="not flattened" says="Rows are outputs"
def conv_matrix(weight, size, stride, padding):
    n = weight.shape[1] * size[0] * size[1]
    basis = torch.eye(n, dtype=weight.dtype).view(n, weight.shape[1], *size)
    return nn.functional.conv2d(basis, weight, stride=stride, padding=padding)

# %% wrong="conv_matrix" name="height and width exchanged" says="flatten"
def conv_matrix(weight, size, stride, padding):
    n = weight.shape[1] * size[0] * size[1]
    basis = torch.eye(n, dtype=weight.dtype).view(n, weight.shape[1], size[1], size[0]).transpose(2, 3)
    return nn.functional.conv2d(basis, weight, stride=stride, padding=padding).flatten(1).T

# %% wrong="conv_matrix" name="the package's" says="write yourself"
def conv_matrix(weight, size, stride, padding):
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2:], stride=stride, padding=padding, bias=False).to(weight.dtype)
    layer.load_state_dict({"weight": weight})
    return lipschitz.as_matrix(layer, (weight.shape[1], *size))

# %% wrong="conv_matrix" name="reshape instead of transpose" says="transpose (.T)"
def conv_matrix(weight, size, stride, padding):
    n = weight.shape[1] * size[0] * size[1]
    basis = torch.eye(n, dtype=weight.dtype).view(n, weight.shape[1], *size)
    return nn.functional.conv2d(basis, weight, stride=stride, padding=padding).reshape(-1, n)

# %% wrong="conv_matrix" name="a layer with its bias" says="a bias"
def conv_matrix(weight, size, stride, padding):
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2:], stride, padding, dtype=weight.dtype)
    layer.weight.data.copy_(weight)
    n = weight.shape[1] * size[0] * size[1]
    return layer(torch.eye(n, dtype=weight.dtype).view(n, weight.shape[1], *size)).flatten(1).T.detach()

# %% wrong="conv_matrix" name="basis in float32" says="dtype=weight.dtype"
def conv_matrix(weight, size, stride, padding):
    n = weight.shape[1] * size[0] * size[1]
    basis = torch.eye(n).view(n, weight.shape[1], *size)
    return nn.functional.conv2d(basis, weight, stride=stride, padding=padding).flatten(1).T

# %% right="conv_matrix" name="the Jacobian"
def conv_matrix(weight, size, stride, padding):
    def f(v):
        return nn.functional.conv2d(v.view(1, weight.shape[1], *size), weight, stride=stride, padding=padding).flatten()
    return torch.autograd.functional.jacobian(f, torch.zeros(weight.shape[1] * size[0] * size[1], dtype=weight.dtype))

# %% right="conv_matrix" name="with unfold"
def conv_matrix(weight, size, stride, padding):
    n = weight.shape[1] * size[0] * size[1]
    basis = torch.eye(n, dtype=weight.dtype).view(n, weight.shape[1], *size)
    patches = nn.functional.unfold(basis, tuple(weight.shape[2:]), padding=padding, stride=stride)
    return (weight.flatten(1) @ patches).reshape(n, -1).t()

# %% right="conv_matrix" name="loops over entries"
def conv_matrix(weight, size, stride, padding):
    out, channels, h, w = weight.shape
    H, W = size
    rows, columns = (H + 2 * padding - h) // stride + 1, (W + 2 * padding - w) // stride + 1
    A = torch.zeros(out * rows * columns, channels * H * W, dtype=weight.dtype)
    for o in range(out):
        for i in range(rows):
            for j in range(columns):
                for c in range(channels):
                    for a in range(h):
                        for b in range(w):
                            r, s = i * stride - padding + a, j * stride - padding + b
                            if 0 <= r < H and 0 <= s < W:
                                A[(o * rows + i) * columns + j, (c * H + r) * W + s] += weight[o, c, a, b]
    return A

# ---------------------------------------------------------------- pair_constants
# %% wrong="pair_constants" name="no dual norm" says="dual norm"
def pair_constants(weight, L_body, p):
    return L_body * torch.linalg.vector_norm(weight[:, None] - weight, ord=p, dim=2)

# %% wrong="pair_constants" name="L2 for every p" says="L2 norm for every p"
def pair_constants(weight, L_body, p):
    return L_body * (weight[:, None] - weight).norm(dim=2)

# %% wrong="pair_constants" name="body forgotten" says="only half of it"
def pair_constants(weight, L_body, p):
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    return torch.linalg.vector_norm(weight[:, None] - weight, ord=q, dim=2)

# %% wrong="pair_constants" name="divided by the body" says="Divide?"
def pair_constants(weight, L_body, p):
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    return torch.linalg.vector_norm(weight[:, None] - weight, ord=q, dim=2) / L_body

# %% wrong="pair_constants" name="difference of lengths" says="difference of two lengths"
def pair_constants(weight, L_body, p):
    own = torch.linalg.vector_norm(weight, ord={1: math.inf, 2: 2, math.inf: 1}[p], dim=1)
    return L_body * (own[:, None] - own).abs()

# %% wrong="pair_constants" name="lengths added" says="added up"
def pair_constants(weight, L_body, p):
    own = torch.linalg.vector_norm(weight, ord={1: math.inf, 2: 2, math.inf: 1}[p], dim=1)
    return L_body * (own[:, None] + own)

# %% wrong="pair_constants" name="the square root of two" says="rows of the pair know better"
def pair_constants(weight, L_body, p):
    K = len(weight)
    return math.sqrt(2) * L_body * torch.linalg.svdvals(weight)[0] * torch.ones(K, K)

# %% wrong="pair_constants" name="norm over the classes" says="dim=-1"
def pair_constants(weight, L_body, p):
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    return L_body * torch.linalg.vector_norm(weight[:, None] - weight, ord=q, dim=1)

# %% wrong="pair_constants" name="squared" says="Take the root"
def pair_constants(weight, L_body, p):
    if p == 2:
        return L_body * ((weight[:, None] - weight) ** 2).sum(dim=2)
    q = {1: math.inf, math.inf: 1}[p]
    return L_body * torch.linalg.vector_norm(weight[:, None] - weight, ord=q, dim=2)

# %% wrong="pair_constants" name="one for all" says="one constant for all pairs"
def pair_constants(weight, L_body, p):
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    L = L_body * torch.linalg.vector_norm(weight[:, None] - weight, ord=q, dim=2)
    return L.max() * torch.ones_like(L)

# %% wrong="pair_constants" name="norm along dimension 0" says="the features are the last one"
def pair_constants(weight, L_body, p):
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    return L_body * torch.linalg.vector_norm(weight[:, None] - weight, ord=q, dim=0)

# %% wrong="pair_constants" name="sqrt 2 too much" says="The root of 2"
def pair_constants(weight, L_body, p):
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    return math.sqrt(2) * L_body * torch.linalg.vector_norm(weight[:, None] - weight, ord=q, dim=2)

# %% wrong="pair_constants" name="signed sum and largest entry" says="Absolute values are missing"
def pair_constants(weight, L_body, p):
    d = weight[:, None] - weight
    return L_body * (d.amax(dim=2) if p == 1 else d.sum(dim=2) if p == math.inf else d.norm(dim=2))

# %% wrong="pair_constants" name="absolute value of the sum" says="its absolute value then"
def pair_constants(weight, L_body, p):
    d = weight[:, None] - weight
    return L_body * (d.abs().amax(dim=2) if p == 1 else d.sum(dim=2).abs() if p == math.inf else d.norm(dim=2))

# %% wrong="pair_constants" name="q by a formula that divides by zero" says="need a case of their own"
def pair_constants(weight, L_body, p):
    return L_body * torch.linalg.vector_norm(weight[:, None] - weight, ord=p / (p - 1), dim=2)

# %% wrong="pair_constants" name="one minus one over p" says="one divided by"
def pair_constants(weight, L_body, p):
    return L_body * torch.linalg.vector_norm(weight[:, None] - weight, ord=1 - 1 / p, dim=2)

# %% wrong="pair_constants" name="L_body only for p = 2" says="only half of it"
def pair_constants(weight, L_body, p):
    q = {1: math.inf, 2: 2, math.inf: 1}[p]
    return (L_body if p == 2 else 1) * torch.linalg.vector_norm(weight[:, None] - weight, ord=q, dim=2)

# %% right="pair_constants" name="a double loop"
def pair_constants(weight, L_body, p):
    K = len(weight)
    L = torch.zeros(K, K, dtype=weight.dtype)
    for i in range(K):
        for j in range(K):
            d = (weight[i] - weight[j]).abs()
            L[i, j] = L_body * (d.max() if p == 1 else d.sum() if p == math.inf else d.square().sum().sqrt())
    return L

# %% right="pair_constants" name="q from the formula"
def pair_constants(weight, L_body, p):
    q = math.inf if p == 1 else 1.0 if math.isinf(p) else p / (p - 1)
    return torch.linalg.vector_norm(L_body * (weight.unsqueeze(0) - weight.unsqueeze(1)), ord=q, dim=-1)

# %% right="pair_constants" name="numpy in float64, and back"
import numpy as np

def pair_constants(weight, L_body, p):
    w = weight.numpy().astype(np.float64)
    q = {1: np.inf, 2: 2, np.inf: 1}[p]
    return torch.from_numpy(L_body * np.linalg.norm(w[:, None, :] - w[None, :, :], ord=q, axis=2)).to(weight.dtype)

# ---------------------------------------------------------------- certified_radius
# %% wrong="certified_radius" name="only the runner-up" says="runner-up only"
def certified_radius(logits, y, L):
    others = logits.scatter(1, y[:, None], -math.inf)
    best, i = others.max(dim=1)
    return ((logits.gather(1, y[:, None]).squeeze(1) - best) / L[y, i]).clamp_min(0)

# %% wrong="certified_radius" name="y not left out" says="0 / 0"
def certified_radius(logits, y, L):
    return ((logits.gather(1, y[:, None]) - logits) / L[y]).min(dim=1).values.clamp_min(0)

# %% wrong="certified_radius" name="y not left out, NaN made to 0" says="left out of the minimum"
def certified_radius(logits, y, L):
    return ((logits.gather(1, y[:, None]) - logits) / L[y]).nan_to_num(0).min(dim=1).values.clamp_min(0)

# %% wrong="certified_radius" name="negative" says="not negative"
def certified_radius(logits, y, L):
    r = (logits.gather(1, y[:, None]) - logits) / L[y]
    return r.scatter(1, y[:, None], math.inf).min(dim=1).values

# %% wrong="certified_radius" name="around the prediction" says="the network predicts"
def certified_radius(logits, y, L):
    k = logits.argmax(dim=1)
    r = (logits.gather(1, k[:, None]) - logits) / L[k]
    return r.scatter(1, k[:, None], math.inf).min(dim=1).values

# %% wrong="certified_radius" name="the leads" says="Divide them"
def certified_radius(logits, y, L):
    r = logits.gather(1, y[:, None]) - logits
    return r.scatter(1, y[:, None], math.inf).min(dim=1).values.clamp_min(0)

# %% wrong="certified_radius" name="times the constant" says="Multiplied?"
def certified_radius(logits, y, L):
    r = (logits.gather(1, y[:, None]) - logits) * L[y]
    return r.scatter(1, y[:, None], math.inf).min(dim=1).values.clamp_min(0)

# %% wrong="certified_radius" name="the largest" says="minimum"
def certified_radius(logits, y, L):
    r = (logits.gather(1, y[:, None]) - logits) / L[y]
    return r.scatter(1, y[:, None], -math.inf).max(dim=1).values.clamp_min(0)

# %% wrong="certified_radius" name="one constant for all" says="smaller than it could be"
def certified_radius(logits, y, L):
    others = logits.scatter(1, y[:, None], -math.inf)
    return ((logits.gather(1, y[:, None]).squeeze(1) - others.max(dim=1).values) / L.max()).clamp_min(0)

# %% wrong="certified_radius" name="constants of class 0" says="They depend on y"
def certified_radius(logits, y, L):
    L = L + 1e9 * torch.eye(len(L), dtype=L.dtype)
    r = (logits.gather(1, y[:, None]) - logits) / L[0].where(L[0] < 1e8, L[0, 1])
    return r.scatter(1, y[:, None], math.inf).min(dim=1).values.clamp_min(0).to(logits.dtype)

# %% wrong="certified_radius" name="half of it" says="Half of that"
def certified_radius(logits, y, L):
    r = (logits.gather(1, y[:, None]) - logits) / (2 * L[y])
    return r.scatter(1, y[:, None], math.inf).min(dim=1).values.clamp_min(0)

# %% wrong="certified_radius" name="L edited in place" says="edited in place"
def certified_radius(logits, y, L):
    L.fill_diagonal_(1.0)
    r = (logits.gather(1, y[:, None]) - logits) / L[y]
    return r.scatter(1, y[:, None], math.inf).min(dim=1).values.clamp_min(0).to(logits.dtype)

# %% wrong="certified_radius" name="the dtype of L" says=".to(logits.dtype)"
def certified_radius(logits, y, L):
    r = (logits.gather(1, y[:, None]) - logits) / L[y]
    return r.scatter(1, y[:, None], math.inf).min(dim=1).values.clamp_min(0)

# %% wrong="certified_radius" name="the whole of L" says="L[y], which is (B, K)"
def certified_radius(logits, y, L):
    r = (logits.gather(1, y[:, None]) - logits) / L
    return r.scatter(1, y[:, None], math.inf).min(dim=1).values.clamp_min(0).to(logits.dtype)

# %% wrong="certified_radius" name="columns of L in place of rows" says="L[y], which is (B, K)"
def certified_radius(logits, y, L):
    r = (logits.gather(1, y[:, None]) - logits) / L[:, y]
    return r.masked_fill(torch.nn.functional.one_hot(y, logits.shape[1]).bool(), math.inf).min(dim=1).values.clamp_min(0).to(logits.dtype)

# %% wrong="certified_radius" name="a column of radii" says="no keepdim"
def certified_radius(logits, y, L):
    r = (logits.gather(1, y[:, None]) - logits) / L[y]
    return r.scatter(1, y[:, None], math.inf).amin(dim=1, keepdim=True).clamp_min(0).to(logits.dtype)

# %% wrong="certified_radius" name="turned round" says="Turned round"
def certified_radius(logits, y, L):
    r = (logits - logits.gather(1, y[:, None])) / L[y]
    return r.scatter(1, y[:, None], math.inf).min(dim=1).values.to(logits.dtype)

# %% wrong="certified_radius" name="turned round and cut off" says="not turned round"
def certified_radius(logits, y, L):
    r = (logits - logits.gather(1, y[:, None])) / L[y]
    return r.scatter(1, y[:, None], math.inf).min(dim=1).values.clamp_min(0).to(logits.dtype)

# %% wrong="certified_radius" name="an absolute value" says="of an absolute value"
def certified_radius(logits, y, L):
    r = (logits.gather(1, y[:, None]) - logits).abs() / L[y]
    return r.scatter(1, y[:, None], math.inf).min(dim=1).values.to(logits.dtype)

# %% wrong="certified_radius" name="values and places" says="take .values"
def certified_radius(logits, y, L):
    r = (logits.gather(1, y[:, None]) - logits) / L[y]
    return r.scatter(1, y[:, None], math.inf).min(dim=1).clamp_min(0)

# %% right="certified_radius" name="a double loop"
def certified_radius(logits, y, L):
    radii = []
    for z, k in zip(logits, y.tolist()):
        r = min((z[k] - z[i]) / L[k, i] for i in range(len(z)) if i != k)
        radii.append(r.clamp_min(0))
    return torch.stack(radii).to(logits.dtype)

# %% right="certified_radius" name="masks, and a large number on the diagonal"
def certified_radius(logits, y, L):
    mask = torch.nn.functional.one_hot(y, logits.shape[1]).bool()
    lead = (logits[mask][:, None] - logits).masked_fill(mask, math.inf)
    return torch.relu((lead / L[y].masked_fill(mask, 1.0).to(logits)).amin(dim=1))

# %% right="certified_radius" name="the class that needs the largest slope"
def certified_radius(logits, y, L):
    z_y = logits[torch.arange(len(y)), y][:, None]
    keep = torch.arange(logits.shape[1]) != y[:, None]
    lead, slope = (z_y - logits)[keep].view(len(y), -1), L[y][keep].view(len(y), -1)
    return torch.where((lead > 0).all(dim=1), 1 / (slope / lead).amax(dim=1), 0.0).to(logits.dtype)

# ---------------------------------------------------------------- accuracy_bounds
# %% wrong="accuracy_bounds" name="rows exchanged" says="certified comes first"
def accuracy_bounds(radii, distances, eps):
    return torch.stack([(d[:, None] > eps).float().mean(dim=0) for d in (distances, radii)])

# %% wrong="accuracy_bounds" name="at least eps" says="not at least"
def accuracy_bounds(radii, distances, eps):
    return torch.stack([(d[:, None] >= eps).float().mean(dim=0) for d in (radii, distances)])

# %% wrong="accuracy_bounds" name="at least eps for the attack" says="closed ball"
def accuracy_bounds(radii, distances, eps):
    return torch.stack([(radii[:, None] > eps).float().mean(dim=0), ((distances[:, None] >= eps) & (distances[:, None] > 0)).float().mean(dim=0)])

# %% wrong="accuracy_bounds" name="the other share" says="NOT certified"
def accuracy_bounds(radii, distances, eps):
    return torch.stack([(d[:, None] <= eps).float().mean(dim=0) for d in (radii, distances)])

# %% wrong="accuracy_bounds" name="counts" says="divide by how many"
def accuracy_bounds(radii, distances, eps):
    return torch.stack([(d[:, None] > eps).float().sum(dim=0) for d in (radii, distances)])

# %% wrong="accuracy_bounds" name="per cent" says="per cent"
def accuracy_bounds(radii, distances, eps):
    return 100 * torch.stack([(d[:, None] > eps).float().mean(dim=0) for d in (radii, distances)])

# %% wrong="accuracy_bounds" name="misclassified left out" says="count, as not robust"
def accuracy_bounds(radii, distances, eps):
    right = radii > 0
    return torch.stack([(d[right][:, None] > eps).float().mean(dim=0) for d in (radii, distances)])

# %% wrong="accuracy_bounds" name="mean over eps" says="mean(dim=0)"
def accuracy_bounds(radii, distances, eps):
    return torch.stack([(d[:, None] > eps).float().mean(dim=1) for d in (radii, distances)])

# %% wrong="accuracy_bounds" name="radii twice" says="about the distances"
def accuracy_bounds(radii, distances, eps):
    certified = (radii[:, None] > eps).float().mean(dim=0)
    return torch.stack([certified, certified])

# %% wrong="accuracy_bounds" name="two tensors" says="Return a torch.Tensor"
def accuracy_bounds(radii, distances, eps):
    return (radii[:, None] > eps).float().mean(dim=0), (distances[:, None] > eps).float().mean(dim=0)

# %% wrong="accuracy_bounds" name="broken in the second row" says="share that is broken"
def accuracy_bounds(radii, distances, eps):
    return torch.stack([(radii[:, None] > eps).float().mean(dim=0), (distances[:, None] <= eps).float().mean(dim=0)])

# %% wrong="accuracy_bounds" name="not certified in the first row" says="share that is not certified"
def accuracy_bounds(radii, distances, eps):
    return torch.stack([(radii[:, None] <= eps).float().mean(dim=0), (distances[:, None] > eps).float().mean(dim=0)])

# %% wrong="accuracy_bounds" name="inf counted as broken" says="attack found nothing"
def accuracy_bounds(radii, distances, eps):
    alive = (distances[:, None] > eps) & distances[:, None].isfinite()
    return torch.stack([(radii[:, None] > eps).float().mean(dim=0), alive.float().mean(dim=0)])

# %% wrong="accuracy_bounds" name="at least eps for the certificate" says="A radius of 0 is not larger"
def accuracy_bounds(radii, distances, eps):
    return torch.stack([(radii[:, None] >= eps).float().mean(dim=0), (distances[:, None] > eps).float().mean(dim=0)])

# %% right="accuracy_bounds" name="a loop over eps"
def accuracy_bounds(radii, distances, eps):
    return torch.tensor([[float((d > e).sum()) / len(d) for e in eps] for d in (radii, distances)])

# %% right="accuracy_bounds" name="sorted and searched"
def accuracy_bounds(radii, distances, eps):
    rows = []
    for d in (radii, distances):
        ordered = d.sort().values
        rows.append(1 - torch.searchsorted(ordered, eps.contiguous(), right=True).double() / len(d))
    return torch.stack(rows)

# ---------------------------------------------------------------- local_slope
# %% wrong="local_slope" name="slope of the logit" says="slope of z_y alone"
def local_slope(model, x, y, p):
    x = x.clone().requires_grad_(True)
    g = torch.autograd.grad(model(x).gather(1, y[:, None]).sum(), x)[0].flatten(1)
    return torch.linalg.vector_norm(g, ord={1: math.inf, 2: 2, math.inf: 1}[p], dim=1)

# %% wrong="local_slope" name="slope of the cross-entropy" says="cross-entropy"
def local_slope(model, x, y, p):
    x = x.clone().requires_grad_(True)
    g = torch.autograd.grad(nn.functional.cross_entropy(model(x), y, reduction="sum"), x)[0].flatten(1)
    return torch.linalg.vector_norm(g, ord={1: math.inf, 2: 2, math.inf: 1}[p], dim=1)

# %% wrong="local_slope" name="y in the maximum" says="left out of the maximum"
def local_slope(model, x, y, p):
    x = x.clone().requires_grad_(True)
    z = model(x)
    g = torch.autograd.grad((z.gather(1, y[:, None]).squeeze(1) - z.max(dim=1).values).sum(), x)[0].flatten(1)
    return torch.linalg.vector_norm(g, ord={1: math.inf, 2: 2, math.inf: 1}[p], dim=1)

# %% wrong="local_slope" name="no dual norm" says="the norm p of the gradient"
def local_slope(model, x, y, p):
    x = x.clone().requires_grad_(True)
    z = model(x)
    lead = z.gather(1, y[:, None]).squeeze(1) - z.scatter(1, y[:, None], -math.inf).max(dim=1).values
    g = torch.autograd.grad(lead.sum(), x)[0].flatten(1)
    return torch.linalg.vector_norm(g, ord=p, dim=1)

# %% wrong="local_slope" name="L2 for every p" says="L2 norm for every p"
def local_slope(model, x, y, p):
    x = x.clone().requires_grad_(True)
    z = model(x)
    lead = z.gather(1, y[:, None]).squeeze(1) - z.scatter(1, y[:, None], -math.inf).max(dim=1).values
    return torch.autograd.grad(lead.sum(), x)[0].flatten(1).norm(dim=1)

# %% wrong="local_slope" name="mean of the leads" says="averaged"
def local_slope(model, x, y, p):
    x = x.clone().requires_grad_(True)
    z = model(x)
    lead = z.gather(1, y[:, None]).squeeze(1) - z.scatter(1, y[:, None], -math.inf).max(dim=1).values
    g = torch.autograd.grad(lead.mean(), x)[0].flatten(1)
    return torch.linalg.vector_norm(g, ord={1: math.inf, 2: 2, math.inf: 1}[p], dim=1)

# %% wrong="local_slope" name="norm over the whole batch" says="one number for the whole batch"
def local_slope(model, x, y, p):
    x = x.clone().requires_grad_(True)
    z = model(x)
    lead = z.gather(1, y[:, None]).squeeze(1) - z.scatter(1, y[:, None], -math.inf).max(dim=1).values
    g = torch.autograd.grad(lead.sum(), x)[0]
    return torch.linalg.vector_norm(g, ord={1: math.inf, 2: 2, math.inf: 1}[p])

# %% wrong="local_slope" name="the last class instead of the next" says="class that is last"
def local_slope(model, x, y, p):
    x = x.clone().requires_grad_(True)
    z = model(x)
    lead = z.gather(1, y[:, None]).squeeze(1) - z.min(dim=1).values
    g = torch.autograd.grad(lead.sum(), x)[0].flatten(1)
    return torch.linalg.vector_norm(g, ord={1: math.inf, 2: 2, math.inf: 1}[p], dim=1)

# %% wrong="local_slope" name="the lead" says="the lead itself"
def local_slope(model, x, y, p):
    z = model(x)
    return z.gather(1, y[:, None]).squeeze(1) - z.scatter(1, y[:, None], -math.inf).max(dim=1).values

# %% wrong="local_slope" name="gradient asked for on the caller's images" says="made to require a gradient"
def local_slope(model, x, y, p):
    x.requires_grad_(True)
    z = model(x)
    lead = z.gather(1, y[:, None]).squeeze(1) - z.scatter(1, y[:, None], -math.inf).max(dim=1).values
    g = torch.autograd.grad(lead.sum(), x)[0].flatten(1)
    return torch.linalg.vector_norm(g, ord={1: math.inf, 2: 2, math.inf: 1}[p], dim=1)

# %% wrong="local_slope" name="around the prediction" says="whatever y is"
def local_slope(model, x, y, p):
    x = x.clone().requires_grad_(True)
    top = model(x).topk(2, dim=1).values
    g = torch.autograd.grad((top[:, 0] - top[:, 1]).sum(), x)[0].flatten(1)
    return torch.linalg.vector_norm(g, ord={1: math.inf, 2: 2, math.inf: 1}[p], dim=1)

# %% wrong="local_slope" name="the second largest logit" says="Take y out first"
def local_slope(model, x, y, p):
    x = x.clone().requires_grad_(True)
    z = model(x)
    lead = z.gather(1, y[:, None]).squeeze(1) - z.sort(dim=1).values[:, -2]
    g = torch.autograd.grad(lead.sum(), x)[0].flatten(1)
    return torch.linalg.vector_norm(g, ord={1: math.inf, 2: 2, math.inf: 1}[p], dim=1)

# %% wrong="local_slope" name="the class of the second largest logit" says="Take y out first"
def local_slope(model, x, y, p):
    x = x.clone().requires_grad_(True)
    z, rows = model(x), torch.arange(len(x))
    lead = z[rows, y] - z[rows, z.argsort(dim=1)[:, -2]]
    g = torch.autograd.grad(lead.sum(), x)[0].flatten(1)
    return torch.linalg.vector_norm(g, ord={1: math.inf, 2: 2, math.inf: 1}[p], dim=1)

# %% wrong="local_slope" name="0 in the place of y" says="Did you put a 0"
def local_slope(model, x, y, p):
    x = x.clone().requires_grad_(True)
    z = model(x)
    lead = z.gather(1, y[:, None]).squeeze(1) - z.scatter(1, y[:, None], 0).amax(dim=1)
    g = torch.autograd.grad(lead.sum(), x)[0].flatten(1)
    return torch.linalg.vector_norm(g, ord={1: math.inf, 2: 2, math.inf: 1}[p], dim=1)

# %% wrong="local_slope" name="all leads added up" says="over all classes, added up"
def local_slope(model, x, y, p):
    x = x.clone().requires_grad_(True)
    z = model(x)
    g = torch.autograd.grad((z.gather(1, y[:, None]) - z).sum(), x)[0].flatten(1)
    return torch.linalg.vector_norm(g, ord={1: math.inf, 2: 2, math.inf: 1}[p], dim=1)

# %% wrong="local_slope" name="the steepest lead" says="the largest slope over all classes"
def local_slope(model, x, y, p):
    x = x.clone().requires_grad_(True)
    z = model(x)
    leads = z.gather(1, y[:, None]) - z
    each = [torch.autograd.grad(leads[:, i].sum(), x, retain_graph=True)[0].flatten(1) for i in range(z.shape[1])]
    return torch.linalg.vector_norm(torch.stack(each), ord={1: math.inf, 2: 2, math.inf: 1}[p], dim=2).amax(dim=0)

# %% wrong="local_slope" name="gather not squeezed" says="is a table (B, B)"
def local_slope(model, x, y, p):
    x = x.clone().requires_grad_(True)
    z = model(x)
    lead = z.gather(1, y[:, None]) - z.scatter(1, y[:, None], -math.inf).amax(dim=1)
    g = torch.autograd.grad(lead.sum(), x)[0].flatten(1)
    return torch.linalg.vector_norm(g, ord={1: math.inf, 2: 2, math.inf: 1}[p], dim=1)

# %% wrong="local_slope" name="not flattened" says="flatten each gradient first"
def local_slope(model, x, y, p):
    x = x.clone().requires_grad_(True)
    z = model(x)
    lead = z.gather(1, y[:, None]).squeeze(1) - z.scatter(1, y[:, None], -math.inf).amax(dim=1)
    g = torch.autograd.grad(lead.sum(), x)[0]
    return torch.linalg.vector_norm(g, ord={1: math.inf, 2: 2, math.inf: 1}[p], dim=1)

# %% wrong="local_slope" name="values and places" says="take .values"
def local_slope(model, x, y, p):
    x = x.clone().requires_grad_(True)
    z = model(x)
    lead = z.gather(1, y[:, None]).squeeze(1) - z.scatter(1, y[:, None], -math.inf).max(dim=1)
    g = torch.autograd.grad(lead.sum(), x)[0].flatten(1)
    return torch.linalg.vector_norm(g, ord={1: math.inf, 2: 2, math.inf: 1}[p], dim=1)

# %% wrong="local_slope" name="q by a formula that divides by zero" says="need a case of their own"
def local_slope(model, x, y, p):
    x = x.clone().requires_grad_(True)
    z = model(x)
    lead = z.gather(1, y[:, None]).squeeze(1) - z.scatter(1, y[:, None], -math.inf).amax(dim=1)
    g = torch.autograd.grad(lead.sum(), x)[0].flatten(1)
    return torch.linalg.vector_norm(g, ord=p / (p - 1), dim=1)

# %% right="local_slope" name="image by image"
def local_slope(model, x, y, p):
    slopes = []
    for image, k in zip(x, y.tolist()):
        image = image[None].clone().requires_grad_(True)
        z = model(image)[0]
        rival = max((i for i in range(len(z)) if i != k), key=lambda i: float(z[i].detach()))
        (z[k] - z[rival]).backward()
        g = image.grad.abs()
        slopes.append(g.max() if p == 1 else g.sum() if p == math.inf else g.square().sum().sqrt())
    return torch.stack(slopes)

# %% right="local_slope" name="torch.func"
def local_slope(model, x, y, p):
    def lead(image, label):
        z = model(image[None])[0]
        mask = torch.arange(len(z)) == label
        return (z * mask).sum() - z.masked_fill(mask, -math.inf).amax()
    g = torch.func.vmap(torch.func.grad(lead))(x, y)
    return torch.linalg.vector_norm(g.flatten(1), ord={1: math.inf, 2: 2, math.inf: 1}[p], dim=1)

# %% right="local_slope" name="minus the lead, backward, detached"
def local_slope(model, x, y, p):
    x_t = x.detach().clone()
    x_t.requires_grad = True
    z = model(x_t)
    onehot = torch.nn.functional.one_hot(y, z.shape[1]).bool()
    (z.masked_fill(onehot, -1e9).max(dim=1).values - z[onehot]).sum().backward()
    return torch.linalg.vector_norm(x_t.grad.reshape(len(x), -1), ord={1: math.inf, 2: 2, math.inf: 1}[p], dim=-1)

# ---------------------------------------------------------------- max_min
# %% wrong="max_min" name="smaller one first" says="smaller one comes first"
def max_min(h):
    return h.view(len(h), -1, 2).sort(dim=2).values.view(h.shape)

# %% wrong="max_min" name="all sorted" says="sorted together"
def max_min(h):
    return h.sort(dim=1, descending=True).values

# %% wrong="max_min" name="larger ones, then smaller ones" says="all the larger ones"
def max_min(h):
    a, b = h[:, 0::2], h[:, 1::2]
    return torch.cat([torch.maximum(a, b), torch.minimum(a, b)], dim=1)

# %% wrong="max_min" name="halves" says="first half with the second half"
def max_min(h):
    a, b = h.chunk(2, dim=1)
    return torch.cat([torch.maximum(a, b), torch.minimum(a, b)], dim=1)

# %% wrong="max_min" name="a ReLU" says="cuts off"
def max_min(h):
    return h.relu()

# %% wrong="max_min" name="only the maximum" says="both of each pair"
def max_min(h):
    return torch.maximum(h[:, 0::2], h[:, 1::2])

# %% wrong="max_min" name="the maximum twice" says="both places"
def max_min(h):
    return torch.maximum(h[:, 0::2], h[:, 1::2]).repeat_interleave(2, dim=1)

# %% wrong="max_min" name="sorted in place" says="edited in place"
def max_min(h):
    a, b = torch.maximum(h[:, 0::2], h[:, 1::2]), torch.minimum(h[:, 0::2], h[:, 1::2])
    h[:, 0::2], h[:, 1::2] = a, b
    return h

# %% wrong="max_min" name="sorted by absolute value" says="without the sign"
def max_min(h):
    pairs = h.view(len(h), -1, 2)
    order = pairs.abs().argsort(dim=2, descending=True)
    return pairs.gather(2, order).view(h.shape)

# %% right="max_min" name="sum and difference"
def max_min(h):
    a, b = h[:, 0::2], h[:, 1::2]
    half, middle = (a - b).abs() / 2, (a + b) / 2
    return torch.stack([middle + half, middle - half], dim=2).flatten(1)

# %% right="max_min" name="into an empty tensor"
def max_min(h):
    out = torch.empty_like(h)
    out[:, 0::2] = torch.maximum(h[:, 0::2], h[:, 1::2])
    out[:, 1::2] = torch.minimum(h[:, 0::2], h[:, 1::2])
    return out

# %% right="max_min" name="the package's layer under another name, by hand with where"
def max_min(h):
    a, b = h.reshape(len(h), -1, 2).unbind(2)
    first = torch.where(a >= b, a, b)
    return torch.stack((first, a + b - first), dim=-1).reshape(h.shape)
