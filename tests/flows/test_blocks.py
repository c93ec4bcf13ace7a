"""Connections as blocks of Prefect, against a real server."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prefect.blocks.system import Secret

from connectors.blocks import Side, block_class, register
from connectors.errors import SettingsError
from connectors.registry import find, names
from connectors.settings import reveal
from tasks.job import JobError, load_job
from tests.flows.workplace import Workplace

TOKEN = "planted-block-token-51d2"


def save(connector: str, side: Side, name: str, **data: Any) -> None:
    """A block as a person enters it."""
    block_class(connector, side)(**data).save(name, overwrite=True, _sync=True)  # type: ignore[call-arg]


def test_every_connector_has_a_form_with_all_of_its_settings() -> None:
    """And every credential in it is hidden."""
    for name in names():
        connector = find(name)
        for side, settings in ((Side.SOURCE, connector.source_settings), (Side.TARGET, connector.target_settings)):
            if settings is not None:
                made = block_class(name, side)
                assert set(settings.model_fields) <= set(made.model_fields)
                assert set(made.model_json_schema()["required"]) >= {
                    key for key, field in settings.model_fields.items() if field.is_required()
                }
    secret = block_class("scim", Side.TARGET).model_json_schema()["secret_fields"]
    assert set(secret) >= {"auth.bearer", "auth.basic.password", "auth.header.value", "auth.oauth.secret"}


@pytest.mark.usefixtures("prefect_api")
def test_a_job_names_blocks_and_holds_no_secret(workplace: Workplace) -> None:
    """What is secret in a block is a reference in the job, until the connection is opened."""
    assert {"SCIM target", "SCIM source", "CSV source", "SQL source"} <= set(register())
    url = workplace.document["target"]["url"]
    save("scim", Side.TARGET, "our-app", url=url, auth={"bearer": TOKEN}, page_size=77)
    save("csv", Side.SOURCE, "hr", users={"path": "hr-to-scim/people.csv", "key": "employeeId"})
    with_blocks = {"source": "${prefect:hr}", "target": "${prefect:our-app}"}
    workplace.document.pop("groups", None)
    job = load_job(workplace.save(**with_blocks).job)
    assert job.source.connector == "csv"
    assert (job.target.settings.url, job.target.settings.page_size) == (url, 77)  # type: ignore[attr-defined]
    assert TOKEN not in repr(job) + job.model_dump_json()
    reference = job.target.settings.auth.bearer  # type: ignore[attr-defined]
    assert reference == "${prefect:our-app.auth.bearer}"
    assert reveal(reference, folder=Path()) == TOKEN


@pytest.mark.usefixtures("prefect_api")
def test_a_block_with_a_secret_is_looked_up() -> None:
    """It gives its value, inside of a running event loop too; one that is not there is named."""

    async def inside_a_loop() -> str:
        return reveal("${prefect:door}", folder=Path())

    Secret(value="opened").save("door", overwrite=True, _sync=True)  # type: ignore[call-arg]
    assert reveal("Bearer ${prefect:door}", folder=Path()) == "Bearer opened"
    assert asyncio.run(inside_a_loop()) == "opened"
    with pytest.raises(SettingsError, match=r"^There is no Prefect Secret block named window"):
        reveal("${prefect:window}", folder=Path())


@pytest.mark.usefixtures("prefect_api")
def test_a_block_that_is_not_there_is_a_problem_of_the_job_file(workplace: Workplace) -> None:
    """With its line and a sentence."""
    with pytest.raises(JobError, match="There is no block called nowhere that holds a connection to a target"):
        load_job(workplace.save(target="${prefect:nowhere}").job)
