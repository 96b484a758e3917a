"""Rules that every sane attack obeys, held against measured accuracies."""

from collections.abc import Mapping

NEEDED = ("pgd", "one step", "random", "transfer", "twice eps", "no limit")


def broken_rules(measured: Mapping[str, float], slack: float = 0.02) -> list[str]:
    """The names of the attacks whose result casts doubt on PGD's, in the order of the table below.

    measured: the accuracy in [0, 1] that each leaves: "pgd"; "one step", "random" (random points of P(x)) and
    "transfer" (examples of another model), which must not leave less than PGD; "twice eps", which must leave less,
    unless PGD leaves nothing; "no limit" (any pixel may take any value), which must leave nothing. Others are ignored.
    slack: what counts as chance. For what to do about each see `attack_report`, which measures and explains.
    Source: Athalye et al. 2018, "Obfuscated gradients", section 3.1.
    """
    for name in NEEDED:
        if name not in measured:
            raise ValueError(f"measured must hold {', '.join(map(repr, NEEDED))}; {name!r} is missing")
    left = measured["pgd"]
    doubtful = {
        "one step": measured["one step"] < left - slack,
        "random": measured["random"] < left - slack,
        "transfer": measured["transfer"] < left - slack,
        "twice eps": left > slack and measured["twice eps"] >= left - slack,
        "no limit": measured["no limit"] > slack,
    }
    return [name for name, doubt in doubtful.items() if doubt]
