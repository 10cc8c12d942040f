"""The rows of a batch: what is known of it, and the sums of what its requests used.

Each model of a batch is one row, the sum of its requests. The price of a request may depend on its
size, so that requests of like size are summed apart (`ITERATIONS` of `Usage`).

The first model of a batch, by its name, has the row without a `Job.part`, so that both ends of a
batch with one model meet whatever either of them says about it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from ...usage import ITERATIONS, REQUESTS, Usage, parts_of
from ..reader import Job, Reader, text

#: Input tokens at which the price of some model changes: a request of this size still has the
#: lower price. A test compares them with the price table.
STEPS = (32_000, 100_000, 128_000, 199_999, 200_000, 256_000, 272_000, 512_000, 524_288)
#: Models of one batch that are told apart, and sums of one model.
_MAX_MODELS = 20
_MAX_SUMS = 200
_PROCESSING = {"processing": "batch"}


class Batch(NamedTuple):
    """What is known of a batch, apart from its usage."""

    id: str
    began: datetime | None = None
    #: Requests that succeeded, and those that did not; None if the answer does not say.
    completed: int | None = None
    failed: int | None = None
    #: Why the batch failed as a whole, or ended early; "" if it did not.
    error: str = ""
    model: str = ""

    def judged(self, first_error: str = "") -> Batch:
        """Return the batch with an error if all of its requests failed."""
        if self.error or self.completed != 0 or not self.failed:
            return self
        said = f"; the first: {first_error}" if first_error else ""
        return self._replace(error=f"all {self.failed} requests failed{said}")


class Share(Reader):
    """The part of a batch that is one row: the requests of one model."""

    in_progress = "batch in progress; its end was not seen yet"
    no_usage = "no usage in the results of the batch"

    def __init__(self, batch: Batch, model: str, *, part: str = "", ended: bool = False) -> None:
        super().__init__()
        self.recognised = True
        self.model = model
        self.error = batch.error
        self.complete = ended
        self.price_facts = dict(_PROCESSING)
        self.job = Job(batch.id, ended, batch.began, part)
        counts = {"completed": batch.completed, "failed": batch.failed}
        known = {name: number for name, number in counts.items() if number is not None}
        self.facts = {"batch": {"id": text(batch.id), **known}}

    def body(self, data: dict[str, Any]) -> None:
        """Take nothing: the reader of the batch has read the answer."""


class Unread(Share):
    """The end of a batch whose results the answer leaves out."""

    no_usage = "batch ended; its results were not read yet"


class _Sum:
    """What the requests of one model used that have one price: of like size and the same units."""

    def __init__(self) -> None:
        self.requests = 0
        self.counts: dict[str, Any] = {}

    def add(self, counts: dict[str, Any]) -> None:
        self.requests += 1
        for unit, number in counts.items():
            self.counts[unit] = self.counts.get(unit, 0) + number


class _Model:
    """What the requests of one model used."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.completed = 0
        self._sums: dict[tuple[str, int, frozenset[str]], _Sum] = {}
        self._faults: dict[str, str] = {}
        self._cost: Decimal | None = None
        self._has_cost = True
        #: Facts that the price depends on → their values, "" for the standard one.
        self._facts: dict[str, set[str]] = {}

    def add(self, answer: Reader) -> None:
        """Add the answer to one request."""
        self.completed += 1
        usage = answer.usage or Usage()
        for name, value in answer.price_context.items():
            if name != "service_tier":  # that of all is the batch
                self._facts.setdefault(name, {""} if self.completed > 1 else set()).add(value)
        for name in self._facts.keys() - answer.price_context.keys():
            self._facts[name].add("")
        self._faults |= usage.faults
        self._has_cost = self._has_cost and usage.cost is not None
        self._cost = None if usage.cost is None else (self._cost or Decimal(0)) + usage.cost
        try:
            parts = list(parts_of(usage.units, usage.details.get(ITERATIONS)))
        except ValueError as error:
            parts = []
            self._faults[ITERATIONS] = str(error)
        for model, counts in parts:
            if counts:
                step = bisect_left(STEPS, counts.get("input_tokens", 0))
                key = (model, step, frozenset(counts))
                if key not in self._sums and len(self._sums) >= _MAX_SUMS:
                    self._faults[ITERATIONS] = "too many kinds of requests"
                    continue
                self._sums.setdefault(key, _Sum()).add(counts)

    @property
    def price_facts(self) -> dict[str, str]:
        """The facts of all requests; a price for requests that differ in them is not known."""
        return {
            name: "mixed" if len(values) > 1 else min(values)
            for name, values in self._facts.items()
        }

    def usage(self) -> Usage:
        """Return the usage of all requests."""
        whole = _Sum()
        iterations: list[dict[str, Any]] = []
        for (model, _, _), each in self._sums.items():
            whole.add(each.counts)
            named = {"model": model} if model else {}
            iterations.append({**each.counts, REQUESTS: each.requests, **named})
        cost = self._cost if self._has_cost else None
        return Usage.of(whole.counts, iterations=iterations, cost=cost, faults=self._faults)


class Sums:
    """What the requests of a batch used, by model."""

    def __init__(self, model: str = "") -> None:
        #: The model of answers that name none.
        self.model = model
        self.completed = 0
        self.failed = 0
        self.first_error = ""
        #: Requests that were not made, by the reason that the provider gives.
        self.left_out: dict[str, int] = {}
        self._models: dict[str, _Model] = {}

    def add(self, answer: Reader) -> None:
        """Add the answer to a request that succeeded."""
        self.completed += 1
        model = answer.model or self.model
        name = part_of(model)
        if name not in self._models and len(self._models) >= _MAX_MODELS:
            name = min(self._models)
        self._models.setdefault(name, _Model(model)).add(answer)

    def fail(self, error: str) -> None:
        """Count a request that failed."""
        self.failed += 1
        self.first_error = self.first_error or error[:300]

    def leave_out(self, reason: str) -> None:
        """Count a request that the provider did not make because of `reason`."""
        self.failed += 1
        self.left_out[reason] = self.left_out.get(reason, 0) + 1

    def shares(self, batch: Batch, requested: Iterable[str] = ()) -> list[Reader]:
        """Return the rows of a batch that ended, whose results these are.

        Args:
            batch: The batch.
            requested: The models that the submission named, as far as they are known.
        """
        if self.left_out and not batch.error:
            reason, number = max(self.left_out.items(), key=lambda item: item[1])
            batch = batch._replace(
                error=f"batch {reason}: {number} of {self.completed + self.failed} requests"
            )
        batch = batch._replace(
            completed=self.completed if batch.completed is None else batch.completed,
            failed=self.failed if batch.failed is None else batch.failed,
        ).judged(self.first_error)
        names = [model.name for model in self._models.values()]
        submitted = {part_of(model): model for model in requested}
        # A gateway may answer with other names than those of the submission.
        if self._models.keys() <= submitted.keys() and len(submitted) <= _MAX_MODELS:
            names = [*submitted.values(), *names]
        named = named_parts(names or [batch.model])
        return [self._share(batch, part, name, len(named)) for part, name in named.items()]

    def _share(self, batch: Batch, part: str, name: str, number: int) -> Share:
        """Return the row of one of `number` models."""
        model = self._models.get(part_of(name))
        if number > 1:
            # A request that failed names no model: it is counted once.
            error = batch.error or ("" if model else "no request to this model succeeded")
            completed = model.completed if model else 0
            batch = batch._replace(
                completed=completed, failed=0 if part else batch.failed, error=error
            )
        share = Share(batch, model.name if model else name, part=part, ended=True)
        if model is not None:
            share.use(model.usage())
            share.price_facts |= model.price_facts
        return share


def named_parts(models: Iterable[str]) -> dict[str, str]:
    """Return the `Job.part` of each model of a batch, with the first of its names."""
    names: dict[str, str] = {}
    for model in models:
        names.setdefault(part_of(model), model)
    ordered = sorted(names.items())[:_MAX_MODELS]
    return {part if number else "": name for number, (part, name) in enumerate(ordered)}


def part_of(model: str) -> str:
    """Return the name under which the requested and the answering model are the same.

    https://platform.claude.com/docs/en/about-claude/models/overview (`claude-opus-4-0` and
    `claude-3-5-haiku-latest` are aliases of dated models)
    """
    name = model.lower().rpartition("/")[2]
    for ending in ("-latest", "-0"):
        name = name.removesuffix(ending)
    base, dash, date = name.rpartition("-")
    return base if dash and len(date) == 8 and date.isdecimal() else name
