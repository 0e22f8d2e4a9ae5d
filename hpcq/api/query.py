"""Query parameters, validated; unknown ones are refused by name."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from hpcq.core.job import ErrorType, State
from hpcq.engine.spec import MAX_INT, Time
from hpcq.store.filter import Filter

WAIT_MOST_S = 300.0
MOST = 100  # values of one parameter


def _no_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not hold a NUL character")
    return text


Text = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_no_nul)]
Name = Annotated[str, Field(max_length=500), AfterValidator(_no_nul)]  # which may be empty
Wait = Annotated[
    float, Field(ge=0, le=WAIT_MOST_S, allow_inf_nan=False, description="Hold the answer until it is final, so long")
]
Whole = Annotated[int, Field(ge=0, le=MAX_INT)]


Tag = Annotated[str, Field(max_length=700, pattern="^[^:]+:"), AfterValidator(_no_nul)]


class Query(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FilterQuery(Query):
    """Which jobs. Those of all given states (queues) are found; all other conditions must hold."""

    state: Annotated[tuple[State, ...], Field(max_length=MOST)] = ()
    queue: Annotated[tuple[Text, ...], Field(max_length=MOST)] = ()
    org_id: Text | None = None
    name: Text | None = None
    text: Annotated[Text | None, Field(description="Part of the name or the params")] = None
    tag: Annotated[tuple[Tag, ...], Field(max_length=MOST, description="key:value; all must be there")] = ()
    batch_key: Text | None = None
    error_type: ErrorType | None = None
    finished_after: Time | None = None
    number: Whole | None = None

    def filter(self) -> Filter:
        """The store's form."""
        pairs = (tag.partition(":") for tag in self.tag)
        return Filter(
            states=self.state,
            queues=self.queue,
            org_id=self.org_id,
            name=self.name,
            text=self.text,
            tags=tuple((key, value) for key, _, value in pairs),
            batch_key=self.batch_key,
            error_type=self.error_type,
            finished_after=self.finished_after.timestamp() if self.finished_after else None,
            number=self.number,
        )


class PageQuery(Query):
    limit: Annotated[int, Field(ge=1, le=1000)] = 50
    cursor: Annotated[str, Field(max_length=500)] | None = None


class ListQuery(FilterQuery):
    limit: Annotated[int, Field(ge=1, le=1000)] = 50
    cursor: Annotated[str, Field(max_length=500)] | None = None
    order: Literal["asc", "desc"] = "desc"


class SummaryQuery(FilterQuery):
    wait: Wait | None = None


class WaitQuery(Query):
    wait: Wait | None = None


class OutputQuery(Query):
    attempt: Annotated[Whole, Field(ge=1)] | None = None
    offset: Annotated[Whole, Field(description="Begin at this byte")] = 0
    follow: Annotated[bool, Field(description="Go on until the attempt ends")] = False


class StreamQuery(Query):
    """`since` is the seq of the last event already seen; 0: all that is kept; absent: only what is new."""

    since: Whole | None = None
