import signal

import pytest

from evalbench.interrupts import held_back


def test_an_interrupt_is_delayed_to_the_end_of_the_block() -> None:
    done = []

    def compose() -> None:
        with held_back():
            signal.raise_signal(signal.SIGINT)
            done.append("the whole block")

    with pytest.raises(KeyboardInterrupt):
        compose()
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_in_the_block_is_raised() -> None:
    with pytest.raises(ValueError, match="wrong"), held_back():
        raise ValueError("wrong")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
