"""Functions whose value does not come from the entry: chance, and what the job says."""

import string
import uuid

from tasks.expressions.context import Context
from tasks.expressions.errors import EvaluationError
from tasks.expressions.functions.texts import SOURCE
from tasks.expressions.signature import Example, Parameter, Place, Type, function
from tasks.expressions.tree import Call, Constant, Node
from tasks.expressions.values import integer_of

MAX_LENGTH = 256
SPECIAL = "~!@#$%^&*_-+=`|\\(){}[]:;\"'<>,.?/"
"""Special characters. Source: Windows, "Password must meet complexity requirements"."""

_IN_MAPPINGS = frozenset({Place.MAPPING})


@function(
    "Guid",
    gives="A new random GUID.",
    example=Example("Left(Guid(), 0)", ""),
    source=SOURCE,
    wants_context=True,
    stable=False,
    places=_IN_MAPPINGS,
)
def guid(*, context: Context) -> str:
    return str(uuid.UUID(int=context.random.getrandbits(128), version=4))


def _check_random(call: Call) -> list[tuple[Node, str]]:
    numbers = call.arguments[:4]
    if len(numbers) < 4 or not all(isinstance(number, Constant) for number in numbers):
        return []
    try:
        length, *least = (integer_of(number.value) for number in numbers if isinstance(number, Constant))
    except EvaluationError:
        return []
    return [(call, _TOO_SHORT)] if length < sum(least) else []


_TOO_SHORT = "Length is smaller than the numbers, special characters and capitals asked for"


@function(
    "RandomString",
    Parameter("Length", Type.NUMBER, at_least=1, at_most=MAX_LENGTH),
    Parameter("MinimumNumbers", Type.NUMBER, at_least=0),
    Parameter("MinimumSpecialCharacters", Type.NUMBER, at_least=0),
    Parameter("MinimumCapital", Type.NUMBER, at_least=0),
    Parameter("MinimumLowerCase", Type.NUMBER, at_least=0),
    Parameter("CharactersToAvoid", required=False),
    gives="A random text with at least so many digits, special characters, capitals and lower-case letters.",
    example=Example("Left(RandomString(6, 3, 0, 0, 3), 0)", ""),
    source=SOURCE,
    wants_context=True,
    stable=False,
    check=_check_random,
    places=_IN_MAPPINGS,
)
def random_string(
    length: int, numbers: int, special: int, capitals: int, lower: int, avoid: str | None, *, context: Context
) -> str:
    if length < numbers + special + capitals:
        raise EvaluationError(_TOO_SHORT)
    # Lower-case letters are not part of the published sum: they get what room there is.
    least = {
        string.digits: numbers,
        SPECIAL: special,
        string.ascii_uppercase: capitals,
        string.ascii_lowercase: min(lower, length - numbers - special - capitals),
    }
    allowed = {
        "".join(character for character in alphabet if character not in (avoid or "")): count
        for alphabet, count in least.items()
    }
    if any(count and not alphabet for alphabet, count in allowed.items()):
        raise EvaluationError("CharactersToAvoid leaves none of a kind of character that is asked for")
    # What is left over is filled from the kinds asked for, or from all if none is.
    rest = "".join(alphabet for alphabet, count in allowed.items() if count) or "".join(allowed)
    if not rest:
        raise EvaluationError("CharactersToAvoid leaves no character at all")
    chosen = [context.random.choice(alphabet) for alphabet, count in allowed.items() for _ in range(count)]
    chosen.extend(context.random.choice(rest) for _ in range(length - len(chosen)))
    context.random.shuffle(chosen)
    return "".join(chosen)


@function(
    "DefaultDomain",
    gives="The job's default domain.",
    example=Example('Join("@", [mailNickname], DefaultDomain())', "ann@example.com", {"mailNickname": "ann"}),
    source="Microsoft Graph, synchronization schema: function list",
    wants_context=True,
)
def default_domain(*, context: Context) -> str:
    if context.default_domain is None:
        raise EvaluationError("the job does not say what its default domain is (default_domain)")
    return context.default_domain
