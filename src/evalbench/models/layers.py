"""torch's layers, with weights that start as normal draws and biases that start at 0."""

from torch import nn


class NormalLinear(nn.Linear):
    """A linear layer whose weights start with standard deviation `gain / sqrt(fan_in)`."""

    def __init__(self, fan_in: int, fan_out: int, gain: float = 1.0) -> None:
        self.std = gain / fan_in**0.5
        super().__init__(fan_in, fan_out)

    def reset_parameters(self) -> None:
        """Draw the initial weights."""
        nn.init.normal_(self.weight, std=self.std)
        nn.init.zeros_(self.bias)


class NormalConvolution(nn.Conv2d):
    """A convolution over `kernel` x `kernel` pixels, whose fan-in is as many times its channels, with such weights.

    It keeps the size of an image at a stride of 1. With `patches` it takes each square of pixels once.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        gain: float,
        bias: bool,
        kernel: int = 3,
        stride: int = 1,
        groups: int = 1,
        patches: bool = False,
    ) -> None:
        self.std = gain / (kernel**2 * channels // groups) ** 0.5
        stride, padding = (kernel, 0) if patches else (stride, kernel // 2)
        super().__init__(channels, width, kernel, stride, padding, groups=groups, bias=bias)

    def reset_parameters(self) -> None:
        """Draw the initial weights."""
        nn.init.normal_(self.weight, std=self.std)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class NormalEmbedding(nn.Embedding):
    """An embedding whose numbers start with standard deviation `1 / sqrt(width)`."""

    def reset_parameters(self) -> None:
        """Draw the initial numbers."""
        nn.init.normal_(self.weight, std=self.embedding_dim**-0.5)
