"""Kolena's credit records, added up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from paceline.errors import Unavailable
from paceline.providers.base import Usage
from paceline.providers.http import Http

PAGE_SIZE = 1000
MAX_PAGES = 200


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    credits_used: float = Field(0.0, allow_inf_nan=False)


class _Page(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    records: list[_Record]
    total_pages: int


def read_usage(http: Http, path: str, agent: str, since: datetime, before_further: Callable[[], None]) -> Usage:
    """Add up what the records of an agent since a moment say. Raises what a read raises; never a part of the sum."""
    spent, records, number, pages = 0.0, 0, 0, 1
    while number < pages:
        if number:
            before_further()
        params = [("agent_id", agent), ("created_gte", since.isoformat())]
        params += [("page_number", str(number)), ("page_size", str(PAGE_SIZE))]
        try:
            page = _Page.model_validate(http.get(path, params).value)
        except ValidationError as error:
            raise Unavailable("the provider's answer makes no sense") from error
        if page.total_pages > MAX_PAGES:
            raise Unavailable(f"the list of credits has {page.total_pages} pages")
        pages = page.total_pages
        spent += sum(record.credits_used for record in page.records)
        records += len(page.records)
        number += 1
    return Usage(spent, records)
