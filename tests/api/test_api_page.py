"""docs/api.md says what the API does: its routes are those of the package, and its examples are played.

Ids, hashes and times differ from run to run: where an answer has one, the page's stands for it from there on.
"""

import json
import re
from datetime import timedelta
from urllib.parse import parse_qsl

from docs.examples import PAGE as FILE
from docs.examples import Example, examples
from stage import HOME_TEMPLATE
from tests.support.deployment import Answer, Deployment

PAGE = FILE.read_text(encoding="utf-8")
VARYING = re.compile(
    r"(i|rp|snap|vol)-[0-9a-f]+|(backup|copy|restore|expire|inventory|probe)-[0-9a-f]{24}|[0-9a-f]{64}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|\d{8}T\d{6}Z|\d{4}-\d\d(-\d\d)?")
AGE = re.compile(r'"(achieved|age|p50|p99)": "[0-9]+[smhd]"')
IN_WORDS = re.compile(r"\bachieved [0-9]+[smhd]|TIME [0-9]{2}:[0-9]{2} UTC")


def routes_of_the_package() -> set[str]:
    api = json.loads(HOME_TEMPLATE.read_text())["Resources"]["RestAPI"]["Properties"]["DefinitionBody"]
    return {
        f"{method.upper()} {path}"
        for path, methods in api["paths"].items()
        for method in methods
        if method != "x-amazon-apigateway-any-method"
    }


class Run:
    """The page, played; `real` holds what stands for each id of the page."""

    def __init__(self, app: Deployment) -> None:
        self.app = app
        self.real: dict[str, str] = {}

    def in_this_run(self, text: str) -> str:
        """Put this run's ids in the place of the page's, and a time to come in the place of its times."""
        soon = (self.app.cloud.clock.now() + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return TIME.sub(soon, VARYING.sub(lambda found: self.real.get(found[0], found[0]), text))

    def send(self, example: Example) -> Answer:
        path, _, query = self.in_this_run(example.path).partition("?")
        answer = self.app.ask(
            example.method,
            path,
            self.in_this_run(example.body).encode() if example.body else None,
            content_type=example.headers.get("Content-Type", "application/json"),
            query=dict(parse_qsl(query)),
            key=example.headers.get("Idempotency-Key"),
        )
        if answer.status == 202:
            self.app.finish()
            self.app.cloud.advance(timedelta(seconds=70))
        return answer

    def learn(self, page: str, real: str) -> None:
        """Take note of what this run has in the place of the page's ids."""
        names, found = (list(VARYING.finditer(text)) for text in (page, real))
        self.real |= {name[0]: other[0] for name, other in zip(names, found, strict=False)}


def plain(text: str) -> str:
    """Leave out of a text what differs from run to run."""
    text = AGE.sub(r'"\1": "AGE"', TIME.sub("TIME", VARYING.sub("ID", text)))
    return IN_WORDS.sub("WHEN", text)


def test_every_route_of_the_package_is_on_the_page_and_every_route_of_the_page_is_there() -> None:
    headings = re.findall(r"^## `(\w+ /.*)`$", PAGE, re.MULTILINE)
    table = re.findall(r"^\| \[`(\w+ /.*?)`\]\(#(.*?)\)", PAGE, re.MULTILINE)
    assert len(headings) == len(set(headings))
    assert set(headings) == {route for route, _ in table} == routes_of_the_package()
    for route, anchor in table:
        assert anchor == re.sub(r"[^\w -]", "", route.lower()).replace(" ", "-")


def test_the_page_has_its_examples() -> None:
    assert len(list(examples())) == PAGE.count("```http") == PAGE.count("```json") > 20


def test_the_examples_of_the_page_are_what_is_answered(app: Deployment) -> None:
    past_the_hour = app.cloud.clock.now().replace(minute=2, second=0, microsecond=0)
    app.cloud.advance(past_the_hour + timedelta(hours=1) - app.cloud.clock.now())  # no schedule comes between
    run = Run(app)
    instance = app.run_instance(app="orders", gib=2, Name="orders-db")
    data = app.directory(instance) / "data"
    data.mkdir()
    (data / "orders").write_text("one order\n" * 400)
    [of_the_page] = set(re.findall(r"\bi-[0-9a-f]{17}\b", PAGE)) - {"i-0123456789abcdef0"}
    run.learn(of_the_page, instance)
    for example in examples():
        answer = run.send(example)
        name = f"{example.method} {example.path}"
        assert (answer.status, bool(answer.text)) == (example.status, example.answer is not None), name
        if answer.text:
            page, real = json.dumps(example.answer), json.dumps(answer.document)
            run.learn(page, real)
            assert json.loads(plain(real)) == json.loads(plain(page)), name
