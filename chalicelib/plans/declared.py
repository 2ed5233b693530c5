"""The base of the models that describe what people write: plans, vaults, settings and requests.

A key's type, bounds, default, `description` and `examples` are declared at the key. pydantic is the parser,
`schema` builds the JSON schema, `problems` uses it to explain what is wrong, and `make docs` writes the
tables of keys.
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
    """A key that may be left out, but not be null."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        schema = handler(source)
        return schema["schema"] if schema["type"] == "nullable" else schema


Maybe = Annotated[T | None, _NeverNull()]


def worded(expected: str, *, title: str | None = None) -> Any:
    """Return the annotation that says what belongs at a key and what its type is called.

    Editors show both.
    """
    return Field(title=title, json_schema_extra={"errorMessage": expected})


class Declared(BaseModel):
    """A frozen mapping that accepts only known keys, and does not convert values from one type to another."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    # Keys that are reserved for a later capability, with what each will do; for now they are refused.
    later: ClassVar[Mapping[str, str]] = {}
    # The discriminator: the key that tells a model from its siblings. It is required and has only one value.
    variant_key: ClassVar[str] = "kind"
    # Whether the value of an unknown key may be a secret; if so, error texts do not repeat it.
    hides_values: ClassVar[bool] = False

    @classmethod
    def ties(cls, given: Mapping[str, Any], context: Any) -> Iterator[Fault]:
        """Yield the faults of keys that are valid alone but not together, each with its place.

        `given` is what was sent, of whatever type; errors of a value's own type are reported elsewhere.
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
        """Validate a document and return the model.

        Raises:
            InvalidInput: with every problem found in `what`.
        """
        try:
            return cls.model_validate(document, context=context)
        except ValidationError as error:
            from chalicelib.plans.problems import problems_of  # late: valid documents need none

            # The text of pydantic's error contains the whole input.
            raise InvalidInput(what, problems_of(error, document, cls)) from None

    def document(self) -> dict[str, Any]:
        """Return the model as JSON-able values with every default filled in; null values are left out."""
        return self.model_dump(mode="json", exclude_none=True)


def _fault(place: Place, expected: str, value: Any) -> InitErrorDetails:
    error = PydanticCustomError(TIE, "{expected}", {"expected": expected})
    return InitErrorDetails(type=error, loc=place, input=value)


def _again(error: Any) -> InitErrorDetails:
    """Return an error that was found in a nested model, in the form in which it can be raised again."""
    context = {"type": error["type"], **error.get("ctx", {})}
    kind = PydanticCustomError(AGAIN, "{type}", context)
    return InitErrorDetails(type=kind, loc=error["loc"], input=error["input"])
