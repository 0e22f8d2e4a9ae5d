"""The one place where a list of jobs is made into SQL. Every list takes the org it is limited to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hpcq.core.job import State
from hpcq.store.filter import Filter

ALL_STATES = tuple(state.value for state in State)
Query = tuple[str, list[Any]]  # SQL and its parameters
Conditions = tuple[list[str], list[Any]]

# What is searched for as `text`: the name, the id, the error, the params. (LIKE tells no upper from lower case.) A spec
# is parsed only where the text is found in it, and not at all where it is nested too deeply for SQLite.
_TEXT = r"""(j.name LIKE ? ESCAPE '\' OR j.id LIKE ? ESCAPE '\'
    OR EXISTS (SELECT 1 FROM specs x WHERE x.job = j.job AND CAST(x.spec AS TEXT) LIKE ? ESCAPE '\'
        AND json_valid(CAST(x.spec AS TEXT))
        AND json_extract(CAST(x.spec AS TEXT), '$.params') LIKE ? ESCAPE '\')
    OR (j.error_type IS NOT NULL AND EXISTS (
        SELECT 1 FROM outcomes x WHERE x.job = j.job AND CAST(x.error AS TEXT) LIKE ? ESCAPE '\')))"""
_OTHER_TAG = "EXISTS (SELECT 1 FROM job_tags x WHERE x.key = ? AND x.value = ? AND x.job = j.job)"


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list: at most `limit` jobs beyond job `after` (None: from the start of the list)."""

    limit: int
    after: int | None = None
    ascending: bool = False


def page_query(org: str | None, wanted: Filter, page: Page) -> Query:
    """Finds the integers of a page of jobs, in order. `org` None: all orgs may be seen."""
    order = "ASC" if page.ascending else "DESC"
    where, values = _conditions(wanted)
    if page.after is not None:
        where.append("j.job > ?" if page.ascending else "j.job < ?")
        values.append(page.after)
    lane, lane_values = _lane_conditions(org, wanted)
    if _is_narrow(wanted) or not (lane or wanted.states):
        source, where, values = _walk(wanted, (where, values), (lane, lane_values))
        job = "g.job" if wanted.tags else "j.job"
        return f"SELECT {job} FROM {source} WHERE {_all(where)} ORDER BY {job} {order} LIMIT {page.limit}", values  # noqa: S608
    # One search of the index for each lane and state, in order already: only what they find is sorted.
    states = wanted.states or ALL_STATES
    sql = f"""
        SELECT f.job FROM lanes l CROSS JOIN (VALUES {_marks(states)}) s CROSS JOIN jobs f
        ON f.job IN (
            SELECT j.job FROM jobs j INDEXED BY jobs_by_lane
            WHERE j.lane = l.lane AND j.state = s.column1 AND {_all(where)} ORDER BY j.job {order} LIMIT {page.limit}
        )
        WHERE {_all(lane)} ORDER BY f.job {order} LIMIT {page.limit}
    """  # noqa: S608
    return sql, [*states, *values, *lane_values]


def counts_query(org: str | None, wanted: Filter) -> Query:
    """Counts what a filter finds: (state, number) rows."""
    lane, lane_values = _lane_conditions(org, wanted)
    where, values = _conditions(wanted)
    if _is_narrow(wanted):
        source, where, values = _walk(wanted, (where, values), (lane, lane_values))
        return f"SELECT j.state, count(*) FROM {source} WHERE {_all(where)} GROUP BY j.state", values  # noqa: S608
    states = wanted.states or ALL_STATES
    sql = f"""
        SELECT state, sum(jobs) FROM (
            SELECT s.column1 AS state, (
                SELECT count(*) FROM jobs j INDEXED BY jobs_by_lane
                WHERE j.lane = l.lane AND j.state = s.column1 AND {_all(where)}
            ) AS jobs FROM lanes l CROSS JOIN (VALUES {_marks(states)}) s WHERE {_all(lane)}
        ) GROUP BY state HAVING sum(jobs) > 0
    """  # noqa: S608
    return sql, [*values, *states, *lane_values]


def _is_narrow(wanted: Filter) -> bool:
    """Whether an index finds the jobs before lanes and states are looked at."""
    return bool(wanted.tags) or wanted.number is not None or wanted.batch_key is not None


def _walk(wanted: Filter, jobs: Conditions, lanes: Conditions) -> tuple[str, list[str], list[Any]]:
    """Source and conditions for looking at one job after the other."""
    source = "job_tags g CROSS JOIN jobs j ON j.job = g.job" if wanted.tags else "jobs j"
    where, values = [*jobs[0], *lanes[0]], [*jobs[1], *lanes[1]]
    if lanes[0]:
        source += " CROSS JOIN lanes l ON l.lane = +j.lane"
    if wanted.states:
        where.append(f"+j.state IN ({', '.join('?' * len(wanted.states))})")
        values += wanted.states
    return source, where, values


def _lane_conditions(org: str | None, wanted: Filter) -> Conditions:
    values = [limit for limit in (org, wanted.org_id) if limit is not None]
    where = ["l.org_id = ?"] * len(values)
    if wanted.queues:
        where.append(f"l.queue IN ({', '.join('?' * len(wanted.queues))})")
        values += wanted.queues
    return where, values


def _conditions(wanted: Filter) -> Conditions:
    where: list[str] = []
    values: list[Any] = []
    for number, tag in enumerate(wanted.tags):
        where.append(_OTHER_TAG if number else "g.key = ? AND g.value = ?")
        values += tag
    for column in ("number", "batch_key", "name", "error_type"):
        if (value := getattr(wanted, column)) is not None:
            where.append(f"j.{column} = ?")
            values.append(value)
    if wanted.finished_after is not None:
        where.append("j.finished_at > ?")
        values.append(wanted.finished_after)
    if wanted.text:
        where.append(_TEXT)
        values += [_part(wanted.text)] * _TEXT.count("?")
    return where, values


def _part(text: str) -> str:
    for special in "\\%_":
        text = text.replace(special, "\\" + special)
    return f"%{text}%"


def _marks(values: Sequence[str]) -> str:
    return ", ".join(["(?)"] * len(values))


def _all(where: list[str]) -> str:
    return " AND ".join(where) or "TRUE"
