"""G11: in which order clients are served, by the backend's own queue, with jobs that all take one unit of time."""

from __future__ import annotations

from collections.abc import Sequence

from protocol.messages import Priority

from ..server.queue import Entry, next_job
from .goals import Figure

HELD, OTHER, MANY = 6, 2, 20


def fairness() -> tuple[Figure, Figure]:
    """How many jobs the second client's first one waits for, while the first client has many waiting; and how even 20 jobs are served."""
    jobs = [Entry(f"a{number}", "a", Priority.INTERACTIVE, number) for number in range(HELD)]
    jobs += [Entry(f"b{number}", "b", Priority.INTERACTIVE, HELD + number) for number in range(OTHER)]
    order = served(jobs)
    # The first job of client a runs already when b asks, so what counts is what comes between.
    wait = order.index("b")
    even = [Entry(f"{client}{number}", client, Priority.INTERACTIVE, number) for number in range(MANY // 2) for client in "ab"]
    halves = [served(even)[: MANY // 2].count(client) for client in "ab"]
    return (
        Figure("G11", "jobs that a second client waits for, of six held", wait, 1, "jobs", "order " + "".join(order)),
        Figure("G11", "unevenness (1 - Jain's index) of the first ten of 20 jobs", 1 - jain(halves), 0.05, "", "".join(served(even))),
    )


def served(jobs: Sequence[Entry]) -> list[str]:
    """The clients in the order in which their jobs are leased."""
    waiting, turns, order = list(jobs), dict[str, int](), list[str]()
    while (chosen := next_job(waiting, turns)) is not None:
        waiting.remove(chosen)
        turns[chosen.client] = max(turns.values(), default=0) + 1
        order.append(chosen.client)
    return order


def jain(shares: Sequence[float]) -> float:
    """Jain's index of fairness (Jain, Chiu and Hawe 1984, DEC-TR-301): 1 when all get the same."""
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))
