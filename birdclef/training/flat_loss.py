"""How long a model trains: a fixed number of epochs, or until its training loss is flat."""

import math
from collections.abc import Sequence
from typing import Any

from birdclef.config.train import TrainConfig
from birdclef.training.schedule import rate_factor

_WINDOW_STEPS = 100
"""Steps whose mean losses are compared."""
_LEAST_FALL = 0.02
"""The loss is flat if the mean of the last steps lies less than this share below that of as many steps before."""
_LEARNT_SHARE = 0.9
"""A loss above this share of the mean over the first steps has not begun to fall: training goes on."""
_FALL_SHARE = 1 / 3
"""Epochs in which the learning rate falls, as a share of the epochs before."""


def loss_still_falls(losses: Sequence[float], steps_per_epoch: int, config: TrainConfig) -> bool:
    """Returns whether the loss of a finished training still fell at its end, so that more epochs may help.

    With `epochs=auto` it did if the training reached its largest length before its loss was flat. With a number of
    epochs the rule of `Budget` holds for the last epochs: 100 steps, or a quarter of the epochs if that is less. A
    quarter that is a single epoch of fewer steps does not show that the loss is flat.

    Args:
        losses: Mean training loss of each epoch; epochs of the classifier of `supcon` do not count.
        steps_per_epoch: Batches per epoch.
        config: Settings of the member.
    """
    budget = Budget(config, steps_per_epoch)
    if not budget.decided:
        return not any(budget.end_epoch(loss) and budget.is_flat for loss in losses)
    main = losses[: budget.epochs]
    wanted = math.ceil(_WINDOW_STEPS / steps_per_epoch)
    window = min(wanted, len(main) // 4)
    return window < min(wanted, 2) or not _is_level(main, window)


def _is_level(losses: Sequence[float], window: int) -> bool:
    """Returns whether a loss has fallen since its first epochs, and not in its last ones.

    Args:
        losses: Mean loss of each epoch.
        window: Number of epochs whose mean is compared with that of as many epochs before.
    """
    parts = losses[:window], losses[-2 * window : -window], losses[-window:]
    first, before, last = (sum(part) / window for part in parts)
    return last < _LEARNT_SHARE * first and last > (1 - _LEAST_FALL) * before


class Budget:
    """Length of the main phase of a training, and the learning rate in it.

    With a number of epochs, the rate rises and then falls as a cosine until the last epoch. With `epochs=auto` the rate
    stays at its peak until the training loss is flat, and then falls as a cosine in a third of the epochs so far. This
    is the schedule "warmup-stable-decay" of Hu et al. 2024, https://arxiv.org/abs/2404.06395, which needs no length in
    advance.

    A loss is flat if the mean of its last 100 steps is less than 2 % below the mean of the 100 steps before. Training
    from scratch often begins with a flat loss, which is no reason to stop: only a loss that is 10 % below that of the
    first 100 steps counts, and only after the warm-up.

    Args:
        config: Settings of the member.
        steps_per_epoch: Batches per epoch.
    """

    def __init__(self, config: TrainConfig, steps_per_epoch: int) -> None:
        self._steps_per_epoch = steps_per_epoch
        self._warmup_share = config.warmup_share
        self._bound = config.most_epochs(steps_per_epoch)
        by_epochs = self._bound == config.max_epochs
        self._limit = f"max_epochs={config.max_epochs}" if by_epochs else f"max_steps={config.max_steps}"
        self._latest_fall = max(1, math.floor(self._bound / (1 + _FALL_SHARE)))
        self._automatic = config.epochs == "auto"
        self._losses: list[float] = []
        self._falls_after: int | None = None

    @property
    def reason(self) -> str:
        """Why the learning rate falls, once the number of epochs is decided."""
        if self.is_flat:
            return "the loss is flat"
        return f"{self._limit} is near, and the loss is not flat yet"

    @property
    def decided(self) -> bool:
        """Whether the number of epochs is final."""
        return not self._automatic or self._falls_after is not None

    @property
    def epochs(self) -> int:
        """Number of epochs of the main phase; the largest possible number until it is decided."""
        if self._falls_after is None or self._falls_after == self._latest_fall:
            return self._bound
        return min(self._bound, self._falls_after + math.ceil(_FALL_SHARE * self._falls_after))

    def rate_factor(self, step: int) -> float:
        """Returns the learning rate of a step as a share of its peak."""
        steps = self.epochs * self._steps_per_epoch
        if not self._automatic:
            return rate_factor(step, steps, self._warmup_share)
        falls_from = steps if self._falls_after is None else self._falls_after * self._steps_per_epoch
        return rate_factor(step, steps, self._warmup_share, falls_from)

    def end_epoch(self, loss: float) -> bool:
        """Returns whether the number of epochs was decided at the end of this epoch.

        Args:
            loss: Mean training loss of the epoch.
        """
        if self.decided:
            return False
        self._losses.append(loss)
        if self.is_flat or len(self._losses) >= self._latest_fall:
            self._falls_after = len(self._losses)
        return self.decided

    @property
    def is_flat(self) -> bool:
        """Whether the loss is flat after the epochs so far."""
        window = max(1, math.ceil(_WINDOW_STEPS / self._steps_per_epoch))
        if len(self._losses) < max(2 * window, self._warmup_share * self._bound):
            return False
        return _is_level(self._losses, window)

    def state_dict(self) -> dict[str, Any]:
        """Returns what a resumed training needs."""
        return {"losses": self._losses, "falls_after": self._falls_after}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the state of a killed training."""
        self._losses, self._falls_after = list(state["losses"]), state["falls_after"]
