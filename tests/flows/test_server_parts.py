"""What the server of ``provisor up`` does otherwise than Prefect's own."""

from types import SimpleNamespace

import pytest

from flows.serve.server_parts import name_of

OURS = SimpleNamespace(name="hr-to-app-plan", tags=["provisor", "job:hr-to-app"])
ANOTHER = SimpleNamespace(name="nightly", tags=["finance"])


@pytest.mark.parametrize(
    ("deployment", "given", "name"),
    [
        (OURS, "zeta6-carchost-anomaly", "hr-to-app-plan"),
        (OURS, "", "hr-to-app-plan"),
        (OURS, "hr-to-app · time limit of an approval", "hr-to-app · time limit of an approval"),
        (ANOTHER, "zeta6-carchost-anomaly", "zeta6-carchost-anomaly"),
        (None, "zeta6-carchost-anomaly", "zeta6-carchost-anomaly"),
    ],
)
def test_a_run_has_a_name_from_the_first_moment(deployment: object, given: str, name: str) -> None:
    """Runs of our deployments are called like them until they name themselves; nobody else's run is touched."""
    assert name_of(deployment, given) == name
