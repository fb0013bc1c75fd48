"""What do the sizes of several networks have to be? Checks that their configurations share."""

from __future__ import annotations

from lib.errors import ParameterError


def check_odd(config: object, *names: str) -> None:
    """ParameterError for a kernel that sees further back than ahead."""
    for name in names:
        if getattr(config, name) % 2 == 0:
            raise ParameterError(
                f"model.{name} is {getattr(config, name)}, a kernel that sees as far back as ahead is odd"
            )


def check_postnet(config: object) -> None:
    """ParameterError for a postnet that one layer would both lead into and out of."""
    if config.postnet_layers < 2:
        raise ParameterError(
            f"model.postnet_layers is {config.postnet_layers}: one leads into it and one out, so at least 2"
        )
