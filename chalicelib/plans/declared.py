"""What people write, declared once: the base of the models of plans, vaults, settings and requests.

A key's type, bounds, default, `description` and `examples` stand at the key. The parser is pydantic's;
`schema` makes the JSON schema of it, `problems` says from that in words what is wrong, and `make docs` writes
the tables of keys.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from chalicelib.errors import InvalidInput
from chalicelib.plans.words import AGAIN, TIE, Place, value_at

Fault = tuple[Place, str]
T = TypeVar("T")


class _NeverNull:
    """A key that may be left out and has a value where it stands: an explicit null is refused."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        schema = handler(source)
        return schema["schema"] if schema["type"] == "nullable" else schema


Maybe = Annotated[T | None, _NeverNull()]


def worded(expected: str, *, title: str | None = None) -> Any:
    """Return the annotation that says in words what belongs at a key, and what its type is called; editors
    show both."""
    return Field(title=title, json_schema_extra={"errorMessage": expected})


class Declared(BaseModel):
    """A frozen mapping with known keys only, and no value taken for one of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    # Keys that are understood and refused until their capability is there, and what each will say.
    later: ClassVar[Mapping[str, str]] = {}
    # The key that tells a model from its siblings: it is required, and has but one value.
    variant_key: ClassVar[str] = "kind"
    # Whether a value that stands under an unknown key may be a secret, and is not repeated.
    hides_values: ClassVar[bool] = False

    @classmethod
    def ties(cls, given: Mapping[str, Any], context: Any) -> Iterator[Fault]:
        """Yield what is wrong with keys that are right alone, each with its place below this mapping.

        `given` is what was sent, whatever its types; what a value's own type refuses is passed over here.
        """
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _tied(cls, given: Any, handler: Any, info: Any) -> Any:
        faults = list(cls.ties(given, info.context)) if isinstance(given, dict) else []
        if not faults:
            return handler(given)
        try:
            handler(given)
        except ValidationError as error:
            found = error.errors(include_url=False)
        else:
            found = []
        raise ValidationError.from_exception_data(
            cls.__name__,
            [_fault(place, expected, value_at(given, place)) for place, expected in faults]
            + [_again(error) for error in found],
        )

    @classmethod
    def read(cls, document: Any, what: str, context: Any = None) -> Self:
        """Read a document.

        Raises:
            InvalidInput: with every problem of `what` it is.
        """
        try:
            return cls.model_validate(document, context=context)
        except ValidationError as error:
            from chalicelib.plans.problems import problems_of  # what reads nothing wrong starts sooner

            # The text of pydantic's error has the whole input in it.
            raise InvalidInput(what, problems_of(error, document, cls)) from None

    def document(self) -> dict[str, Any]:
        """Return it as JSON-able values, every default filled in; what says nothing is left out."""
        return self.model_dump(mode="json", exclude_none=True)


def _fault(place: Place, expected: str, value: Any) -> InitErrorDetails:
    error = PydanticCustomError(TIE, "{expected}", {"expected": expected})
    return InitErrorDetails(type=error, loc=place, input=value)


def _again(error: Any) -> InitErrorDetails:
    """Return an error that was found inside, to be raised once more beside others."""
    context = {"type": error["type"], **error.get("ctx", {})}
    kind = PydanticCustomError(AGAIN, "{type}", context)
    return InitErrorDetails(type=kind, loc=error["loc"], input=error["input"])
