"""What may come in: the key, hosts and origins, sizes; and what a reply's text may do in the page."""

import json
import re
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from importlib.resources import files

import openai
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.routing import Route

from sayso.feedback.store import Store
from sayso.reply import Replier
from sayso.serve.access import PUBLIC
from sayso.serve.app import make_app
from sayso.serve.markdown import to_html
from sayso.serve.page_files import page_files, xray_files

HERE = "http://127.0.0.1"


def test_every_route_but_the_page_files_needs_the_key(replier: Replier, store: Store) -> None:
    """The default is to deny: each path that the application has is tried without and with a wrong key."""
    app = make_app(replier, store, "tuned", key="secret")
    paths = {re.sub(r"\{.*?\}", "1", path) for path in app.openapi()["paths"]}
    paths |= {re.sub(r"\{.*?\}", "1", route.path) for route in app.routes if isinstance(route, Route)}
    assert {"/v1/models", "/api/ratings", "/health", "/metrics", "/v1/responses", "/page/page.js"} < paths
    with TestClient(app, base_url="http://example.org") as client:
        for path in paths | PUBLIC | {"/openapi.json", "/nothing"}:
            for key in ({}, {"authorization": "Bearer wrong"}):
                for method in ("GET", "POST", "DELETE", "OPTIONS"):
                    status = client.request(method, path, headers=key).status_code
                    assert (status in (200, 405)) if path in PUBLIC else (status == 401), (method, path)
        reply = client.get("/v1/models", headers={"authorization": "Bearer secret"})
    assert reply.status_code == 200
    with pytest.raises(openai.AuthenticationError), TestClient(app, base_url=HERE) as client:
        openai.OpenAI(api_key="wrong", base_url=f"{HERE}/v1", http_client=client).models.list()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "127.0.0.1:8000"}, 200),
        ({"host": "localhost"}, 200),
        ({"host": "[::1]:8000"}, 200),
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"origin": "http://127.0.0.1"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"content-length": "99999999"}, 413),
        ({"content-length": "many"}, 413),
    ],
)
def test_strangers_stay_outside(client: TestClient, headers: dict[str, str], status: int) -> None:
    """Without a key only this machine's own names are served, and no other site's page; bodies have a limit."""
    assert client.get("/api/conversations", headers=headers).status_code == status


def test_a_body_without_a_length_has_the_limit_too(replier: Replier, store: Store) -> None:
    """A body that comes in pieces is cut off when it gets too large."""
    with TestClient(make_app(replier, store, "tuned", body_limit=1000), base_url=HERE) as client:
        pieces = (b" " * 600 for _ in range(2))
        reply = client.post("/v1/completions", content=pieces, headers={"content-type": "application/json"})
    assert reply.status_code == 413
    assert "1000 bytes" in reply.json()["error"]["message"]
    assert reply.json()["error"]["code"] == "request_too_large"


def test_no_page_of_another_site_can_write(app: FastAPI, client: TestClient) -> None:
    """Every route that changes or generates something refuses what a browser sends for another site (CSRF)."""
    described = app.openapi()["paths"].items()
    writing = [(method, path) for path, methods in described for method in methods if method not in ("get", "head")]
    assert {("post", "/api/ratings"), ("delete", "/api/conversations/{conversation_id}"), ("post", "/v1/messages")} < {
        *writing
    }
    for method, path in writing:
        for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1.evil.example", "x://["):
            answer = client.request(method, re.sub(r"\{.*?\}", "1", path), json={}, headers={"origin": origin})
            assert answer.status_code == 403, (method, path, origin)
            told = answer.json()["error"]
            assert "may not use this server" in (told["message"] if isinstance(told, dict) else told), (method, path)


@pytest.mark.parametrize(
    "path",
    [
        "/page/../access.py", "/page/%2e%2e/access.py", "/page/..%2faccess.py", "/page/..%5caccess.py",
        "/page/%252e%252e/access.py", "/page//etc/passwd", "//etc/passwd", "/page/page.js/../../access.py",
        "/page/page.js%00.html", "/page/", "/page", "/page/.", "/..", "/page/index.html",
        "/api/models/..", "/api/models/..%2f..%2fetc", "/api/runs/..", "/api/runs/..%2f..",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_pages_files(start: Callable[..., str], path: str) -> None:
    """Sent as it is, without what a client would tidy."""
    connection = HTTPConnection(start(rows=1).removeprefix("http://"), timeout=30)
    with closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        told = answer.read()
    assert answer.status == 404
    assert json.loads(told)["error"]["type"] == "not_found_error"


def test_the_page_runs_no_script_but_its_own(client: TestClient) -> None:
    """The policy forbids everything that is not this server's; the page names no other place."""
    for path in {**page_files(), **xray_files()}:
        reply = client.get(path)
        assert "default-src 'none'; script-src 'self'" in reply.headers["content-security-policy"]
        assert reply.headers["x-content-type-options"] == "nosniff"
        addresses = reply.text.replace("http://www.w3.org/2000/svg", "")
        assert "http" not in addresses.replace("http-equiv", "")
        if reply.headers["content-type"].startswith("text/html"):
            assert " style=" not in reply.text
            assert not re.search(r"\son[a-z]+=", reply.text)


def test_files_of_the_page_are_sent_again_only_if_they_changed(client: TestClient) -> None:
    """All else is never kept."""
    for path in {**page_files(), **xray_files()}:
        first = client.get(path)
        assert first.headers.get_list("cache-control") == ["no-cache"]
        again = client.get(path, headers={"if-none-match": f'W/{first.headers["etag"]}, "other"'})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        assert client.get(path, headers={"if-none-match": '"other"'}).content == first.content
    assert client.get("/api/conversations").headers.get_list("cache-control") == ["no-store"]


def test_scripts_and_styles_of_the_page_weigh_at_most_150_kb(client: TestClient) -> None:
    """As they are sent, all of them together; the x-ray is another page."""
    sent = {path: client.get(path).content for path in page_files() if path != "/"}
    assert len(sent) > 30
    assert sum(map(len, sent.values())) <= 150_000


def test_no_script_has_a_template_literal_within_another() -> None:
    """What shortens the scripts takes the inner one for code, and drops its spaces."""
    inner = re.compile(r"\$\{(?:[^{}`]|\{(?:[^{}`]|\{[^{}`]*\})*\})*`")
    assert inner.search("`a ${b.map(({ c }) => `${c} d`)}`")
    for name in page_files().values():
        text = (files("sayso.serve") / "page" / name).read_text("utf-8")
        assert not inner.search(text) or not name.endswith(".js"), name


def test_modules_of_the_first_screen_are_fetched_at_once(client: TestClient) -> None:
    """The page names all that its script imports, and what those import, so that none waits for another."""
    needed, left = set[str](), ["page.js"]
    while left:
        for name in re.findall(r'\bimport\{[^}]*\}from"\./(\w+\.js)"', client.get(f"/page/{left.pop()}").text):
            if name not in needed:
                needed.add(name)
                left.append(name)
    named = re.findall(r'rel="modulepreload" href="/page/([\w.]+)"', client.get("/").text)
    assert sorted(named) == sorted(needed)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>"),
        ("<img src=x onerror=alert(1)>", "<p>&lt;img src=x onerror=alert(1)&gt;</p>"),
        ("![you](https://evil.example/who)", None),
        ("[click](javascript:alert(1))", "<p>[click](javascript:alert(1))</p>"),
        ("**two** fish\nand `one`", "<p><strong>two</strong> fish<br>\nand <code>one</code></p>"),
        ("", ""),
    ],
)
def test_a_reply_cannot_bring_a_script_or_an_image(said: str, shown: str | None) -> None:
    """Markdown is rendered; HTML stays text; nothing is fetched from elsewhere."""
    html = to_html(said)
    assert "<img" not in html
    assert "<script" not in html
    assert shown is None or html.strip() == shown


def test_links_of_a_reply_tell_nobody_where_they_are_from() -> None:
    """A link opens apart and without a referrer."""
    html = to_html("[sea](https://example.org)")
    assert 'rel="noopener noreferrer nofollow"' in html
    assert 'href="https://example.org"' in html
