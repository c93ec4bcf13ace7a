import json, pytest
from pathlib import Path
from tests.flows.workplace import EXPORT, Workplace
from tests.flows.conftest import *
pytestmark = [pytest.mark.usefixtures("prefect_api")]
def test_try(workplace, service, provisor):
    assert workplace.cycle().exit_status in (0,1)
    workplace.use(EXPORT / "next")
    r = workplace.cycle()
    print(r.message)
    for person in json.loads((EXPORT/"events.json").read_text())["cast"]:
        said = provisor("why", workplace.job, person["employeeId"])
        print("=====", person["fate"], said.status, said.err); print(said.out)
    for who in ("nobody", "G0040", "Siobhan.OBrien@example.com", "000022"):
        said = provisor("why", workplace.job, who)
        print("=====", who, said.status, said.err); print(said.out)
    said = provisor("why", workplace.job, "000060", "--json")
    print(json.dumps(said.document, indent=1)[:6000])
