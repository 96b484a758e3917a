"""..."""
def install() -> None: pass
