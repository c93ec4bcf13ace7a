"""A cycle in which a bit of everything happened, with names that would be markup if anything let them."""

from dataclasses import replace
from datetime import timedelta

from connectors.contract import Action, Kind
from connectors.errors import ErrorCode
from tasks.checks import Checked, check_plan
from tasks.escrow import Failed
from tasks.expectations import CheckResult
from tasks.job import Checked as Frame
from tasks.job import Limit, Limits, OnFailure
from tasks.ledger import Cycle, CycleKind, CycleState
from tasks.mapping import Held
from tasks.report import CycleReport
from tests.tasks.plan.worlds import NOW, World, make_job

MARKUP = '<img src=x onerror="alert(1)">'
SECRET = "S3cret-Birthday"
LONG = "Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz" * 3
NAMES = [MARKUP, "O'Brien & Söhne", "محمد الأحمد", "李小龙", "👩‍🚀 Astra", LONG, "</style></script>", "None"]
NAMES.append("{{ 7*7 }}")


def checked() -> Checked:
    """A plan with joiners, changes of a redacted attribute, leavers that a guard holds, and memberships."""
    world = World(
        make_job(
            {"title": "[jobTitle]", "nickName": {"expression": "[birthday]", "redact": True}}, {"externalId": "[id]"}
        )
    )
    for number in range(40):
        name = f"p{number:02}"
        world.accounts[Kind.USER][f"t{name}"] = {"userName": f"{name}@x", "title": "Clerk", "active": True}
        world.link(name, f"t{name}")
        if number >= 12:
            world.users[name] = {"mail": f"{name}@x", "jobTitle": "Boss" if number % 2 else "Clerk", "birthday": SECRET}
    for number, name in enumerate(NAMES):
        world.users[f"n{number}"] = {"mail": name, "jobTitle": "Clerk", "birthday": SECRET}
        world.groups[f"g{number}"] = {"name": name, "id": f"g{number}"}
        world.accounts[Kind.GROUP][f"tg{number}"] = {"displayName": name, "externalId": f"g{number}"}
        world.link(f"g{number}", f"tg{number}", Kind.GROUP, label=name)
        world.members |= {(f"g{number}", f"p{other:02}") for other in range(12, 14 + number)}
    world.edges = {("tg0", f"tp{number:02}") for number in range(12)}
    limits = Limits(removals=Limit(count=5, fraction=0.1, minimum=20))
    return check_plan(world.plan(), limits)


def report(state: CycleState = CycleState.STAGED) -> CycleReport:
    """What the cycle did."""
    failed = [
        Failed(Kind.USER, f"n{number}", name, Action.CREATE, ErrorCode.CONFLICT, f"userName of {name} is taken")
        for number, name in enumerate(NAMES)
    ]
    held = [Held(Kind.USER, "p99", ErrorCode.EXPRESSION_FAILED, f"title: cannot make a date of {MARKUP}", label=MARKUP)]
    return CycleReport(
        job="hr-to-app",
        cycle=42,
        kind=CycleKind.RECONCILE,
        state=state,
        began=NOW,
        ended=NOW + timedelta(seconds=83.2),
        counts={"created": 1_204, "updated": 315, "members_added": 88, "failed": len(failed), "held": 1, "staged": 12},
        unchanged=98_712,
        failures=failed,
        held=held,
        notes=[Held(Kind.GROUP, "g1", ErrorCode.UNRESOLVED_REFERENCE, "3 of its members have no account.", label="g1")],
        guards=[verdict.sentence for verdict in checked().verdicts],
        findings=[one.sentence for one in results() if not one.success],
        seen="The target was listed: a day has passed.",
        seconds={"read source": 4.1, "read target": 31.0, "plan": 6.25, "load": 41.4, "remember": 0.44},
    )


def cycles(count: int = 30) -> list[Cycle]:
    """The last cycles, the newest first."""
    made = [
        Cycle(
            id=number,
            number=number,
            job="hr-to-app",
            kind=CycleKind.INCREMENTAL,
            state=CycleState.DONE,
            fingerprint="f",
            began=NOW - timedelta(minutes=20 * (42 - number)),
            counts={
                "created": number * 7 % 40,
                "updated": number * 31 % 170,
                "disabled": number % 6,
                "members_added": number * 3 % 50,
                "failed": 12 if number % 9 == 0 else 0,
            },
            initiator=f"the schedule {MARKUP}",
            source="csv people.csv",
            target="scim https://app.example.com/v2",
        )
        for number in range(43 - count, 43)
    ]
    return made[::-1]


def results(*, good: bool = False) -> list[CheckResult]:
    """Checks of both kinds, one that holds and one that does not of each."""
    mail = CheckResult(
        Frame.SOURCE_USERS,
        "expect_column_values_to_match_regex",
        {"column": "mail", "regex": f"^[^@ ]+@[^@ ]+$|{MARKUP}"},
        OnFailure.HOLD_ROWS,
        success=good,
        keys=() if good else tuple(f"{number:06}" for number in range(380)),
        rows=1_000,
        failing=0 if good else 380,
    )
    count = CheckResult(
        Frame.SOURCE_USERS,
        "expect_table_row_count_to_be_between",
        {"min_value": 900},
        OnFailure.STOP,
        success=True,
        observed="1,000",
    )
    twins = CheckResult(
        Frame.TARGET_USERS,
        "expect_column_values_to_differ_in_more_than_case",
        {"column": "userName"},
        OnFailure.WARN,
        success=good,
        keys=() if good else ("a1", "a2"),
        rows=990,
        failing=0 if good else 2,
        builtin="case_twins",
        words="2 of 990 entries have a value of userName that differs in case alone",
    )
    keys = replace(twins, expectation="expect_column_values_to_be_unique", success=True, builtin="keys")
    return [count, mail, twins, keys]
