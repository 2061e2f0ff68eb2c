"""The rater's page through real HTTP: what it gives, what it takes, what it refuses, and what survives."""

import http.client
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from medeval.dialogue.agreement_sheets import read_sheet
from medeval.dialogue.annotation import Annotation, Book, Work, kept
from medeval.dialogue.rubric import load_rubric
from medeval.dialogue.turns import Turn
from medeval.types import UserError

RUBRIC = load_rubric("mini-cex-llm")
NASTY = "<script>alert(1)</script>\"'&</div>\u202e ${1+1} {{7*7}} I am GPT-4 of OpenAI"
TALKS = {
    f"d{n}": (Turn(1, "patient", "My toe hurts."), Turn(2, "doctor", NASTY if n == 0 else f"Why? {n}"))
    for n in range(8)
}
TOKENS = {name: f"t{number}" for number, name in enumerate(TALKS)}
RATING = {"dialogue": "t0", "item": "1.1", "score": 1, "na": False}


@pytest.fixture
def page(tmp_path):
    with (
        Book(tmp_path / "A.jsonl", "A") as book,
        Annotation(Work("A", RUBRIC, TALKS, {"d0": "diagnosis: gout"}, TOKENS), book) as served,
    ):
        yield served


def ask(page, method, path, body=None, token=True, host=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
    own = {"Host": host or f"127.0.0.1:{page.port}", **({"X-Token": page.token} if token else {})}
    if body is not None:
        own["Content-Type"] = "application/json"
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    connection.request(method, path, data, {**own, **{k.replace("_", "-"): v for k, v in headers.items()}})
    reply = connection.getresponse()
    text = reply.read()
    connection.close()
    return reply.status, reply.headers, text


def rate(page, **changes):
    status, _, text = ask(page, "POST", "/api/rate", {**RATING, **changes})
    return status, json.loads(text)


def work(page):
    return json.loads(ask(page, "GET", "/api/work")[2])


def test_the_page_is_one_file_that_loads_nothing_and_lets_nothing_else_run(page):
    status, headers, body = ask(page, "GET", "/", token=False)
    text = body.decode()
    assert status == 200
    assert not re.search(
        r"https?://|src=|@import|url\(|innerHTML|outerHTML|document\.write|insertAdjacentHTML|eval\(", text
    )
    assert not re.search(r"\son\w+=", text)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert len(re.findall(r"'sha256-[\w+/]{43}='", policy)) == 2
    assert page.token not in text


def test_texts_come_as_data_with_models_blotted_out(page):
    told = work(page)
    talk = next(talk for talk in told["dialogues"] if talk["id"] == "t0")
    text = talk["turns"][1][2]
    assert "<script>alert(1)</script>" in text
    assert "GPT" not in text
    assert "OpenAI" not in text
    assert talk["truth"] == "diagnosis: gout"
    assert {item["id"] for item in told["items"] if item["truth"]} == {
        i.id for i in RUBRIC.items if i.needs_reference
    }


def test_the_page_hears_no_id_of_case_or_sample(tmp_path):
    """Not of what is to be rated, nor of what this rater rated elsewhere."""
    names = [f"gout-of-mr-smith/{sample}" for sample in range(3)]
    talks = {name: (Turn(1, "patient", "My toe hurts."),) for name in names}
    with Book(tmp_path / "A.jsonl", "A") as book:
        book.write(names[0], "1.1", 1, False)
        book.write("gout-of-mr-jones/0", "1.1", 1, False)
        told = Work("A", RUBRIC, talks)
        with Annotation(told, book) as served:
            texts = [ask(served, "GET", path)[2].decode() for path in ("/", "/api/work")]
            assert work(served)["marks"] == {told.tokens[names[0]]: {"1.1": 1}}
            assert rate(served, dialogue=told.tokens[names[1]])[0] == 200
    assert not any("gout" in text or "smith" in text for text in texts)
    assert [mark.dialogue for mark in read_sheet(book.path)] == [names[0], "gout-of-mr-jones/0", names[1]]


def test_the_key_stays_with_the_maker_and_grows(tmp_path):
    first = kept(tmp_path, ["a/0", "a/1"])
    more = kept(tmp_path, ["a/1", "b/0"])
    assert more["a/1"] == first["a/1"]
    assert len({*first.values(), *more.values()}) == 3
    assert all(re.fullmatch("[0-9a-f]{8}", token) for token in more.values())
    path = tmp_path / "key.json"
    assert json.loads(path.read_text()) == {token: name for name, token in {**first, **more}.items()}
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", ["[]", "{", '{"t": 1}', '{"t": "a/0", "u": "a/0"}'])
def test_a_key_that_is_none_is_told(tmp_path, content):
    (tmp_path / "key.json").write_text(content)
    with pytest.raises(UserError, match=r"key\.json"):
        kept(tmp_path, ["a/0"])


def test_pages_that_open_at_once_agree_on_the_key(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: kept(tmp_path, [f"d{i}" for i in range(n + 1)]), range(16)))
    whole = kept(tmp_path, [f"d{i}" for i in range(16)])
    assert all(tokens.items() <= whole.items() for tokens in found)


def test_each_rater_has_an_order_of_its_own_that_stays():
    orders = {name: Work(name, RUBRIC, TALKS).order for name in ("A", "B", "C")}
    assert orders["A"] == Work("A", RUBRIC, TALKS).order
    assert sorted(orders["A"]) == sorted(TALKS)
    assert len(set(map(tuple, orders.values()))) == 3


def test_a_click_is_on_disk_when_it_is_acknowledged_and_the_last_one_stands(page):
    assert rate(page) == (200, {"saved": True})
    assert rate(page, score=0)[0] == 200
    assert rate(page, item="1.2", score=None, na=True)[0] == 200
    assert rate(page, item="1.3")[0] == rate(page, item="1.3", score=None)[0] == 200
    lines = [json.loads(line) for line in page.book.path.read_text().splitlines()]
    assert [line["score"] for line in lines] == [1, 0, None, 1, None]
    assert work(page)["marks"] == {"t0": {"1.1": 0, "1.2": "NA"}}
    found = {m.item: (m.score, m.na) for m in read_sheet(page.book.path)}
    assert found == {"1.1": (0.0, False), "1.2": (None, True), "1.3": (None, False)}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"dialogue": "t99"}, "no dialogue 't99'"),
        ({"dialogue": "d0"}, "no dialogue 'd0'"),
        ({"dialogue": ["d0"]}, "no dialogue"),
        ({"item": "9.9"}, "no item '9.9'"),
        ({"item": {}}, "no item"),
        ({"score": [1]}, "score [1]"),
        ({"score": 2}, "score 2 is not one of 0, 1"),
        ({"score": True}, "score True"),
        ({"score": "1"}, "score '1'"),
        ({"score": 1, "na": True}, "has no score"),
        ({"item": "4.1", "score": None, "na": True}, "always applies"),
        ({"na": "yes"}, "na is true or false"),
    ],
)
def test_what_is_no_rating_is_refused_and_not_kept(page, change, told):
    status, answer = rate(page, **change)
    assert status == 422
    assert told in answer["error"]
    assert page.book.path.read_bytes() == b""


def test_other_pages_and_other_names_of_this_host_are_refused(page):
    port = page.port
    refused = [
        ask(page, "GET", "/api/work", token=False),
        ask(page, "GET", "/api/work", token=False, X_Token="guess"),
        ask(page, "POST", "/api/rate", RATING, token=False),
        ask(page, "POST", "/api/rate", RATING, Origin="https://evil.example"),
        ask(page, "POST", "/api/rate", RATING, Origin="null"),
        ask(page, "POST", "/api/rate", RATING, Origin=f"http://127.0.0.1:{port + 1}"),
        ask(page, "GET", "/api/work", host="evil.example"),
        ask(page, "GET", "/", host=f"evil.example:{port}"),
        ask(page, "POST", "/api/rate", RATING, Content_Type="text/plain"),
        ask(page, "OPTIONS", "/api/rate", Origin="https://evil.example"),
    ]
    assert [status for status, _, _ in refused] == [403, 403, 403, 403, 403, 403, 421, 421, 415, 501]
    assert not any("Access-Control-Allow-Origin" in headers for _, headers, _ in refused)
    assert page.book.path.read_bytes() == b""
    assert (
        ask(page, "POST", "/api/rate", RATING, Origin=f"http://localhost:{port}", host=f"localhost:{port}")[0]
        == 200
    )


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[]", 400), (b"\xff", 400), (b'"' + b"x" * 20_000 + b'"', 413), (b"[" * 16_000, 400)],
)
def test_a_body_that_is_no_rating_is_refused_and_the_page_goes_on(page, body, status):
    assert ask(page, "POST", "/api/rate", body)[0] == status
    assert rate(page)[0] == 200


@pytest.mark.parametrize("path", ["/../../etc/passwd", "/api", "/api/rate", "/page.html"])
def test_nothing_else_is_there(page, path):
    assert ask(page, "GET", path)[0] == 404


def test_many_clicks_at_once_are_all_kept_as_whole_lines(page):
    wanted = [(d, item.id) for d in TALKS for item in RUBRIC.items]
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda two: rate(page, dialogue=TOKENS[two[0]], item=two[1], score=0), wanted))
    assert {status for status, _ in done} == {200}
    assert {(m.dialogue, m.item) for m in read_sheet(page.book.path)} == set(wanted)


def test_a_torn_line_is_cut_off_and_rating_goes_on(tmp_path):
    path = tmp_path / "A.jsonl"
    with Book(path, "A") as book:
        book.write("d0", "1.1", 1, False)
    with path.open("ab") as file:
        file.write(b'{"dialogue": "d0", "item": "1.2", "ra')
    with Book(path, "A") as book:
        book.write("d0", "1.3", 0, False)
        assert book.to_plain() == {"d0": {"1.1": 1, "1.3": 0}}
    assert [m.item for m in read_sheet(path)] == ["1.1", "1.3"]


def test_a_raters_book_is_held_by_one_process_and_one_rater(tmp_path):
    path = tmp_path / "A.jsonl"
    with Book(path, "A") as book:
        book.write("d0", "1.1", 1, False)
        with pytest.raises(UserError, match="open in another process"):
            Book(path, "A")
    with pytest.raises(UserError, match="holds ratings by 'A', not by 'B'"):
        Book(path, "B")


def test_a_full_disk_is_told_and_leaves_no_half_line(page, monkeypatch):
    rate(page)
    before = page.book.path.read_bytes()
    monkeypatch.setattr(
        "medeval.dialogue.annotation.book.os.fsync",
        lambda file: (_ for _ in ()).throw(OSError(28, "No space left")),
    )
    status, answer = rate(page, score=0)
    assert (status, answer["error"]) == (507, "not saved: No space left")
    assert page.book.path.read_bytes() == before
    assert work(page)["marks"] == {"t0": {"1.1": 1}}


@pytest.mark.parametrize("name", ["", "../A", "a/b", ".hidden", "A\n", "x" * 41, "A."])
def test_a_name_that_cannot_be_a_file_is_refused(name):
    with pytest.raises(UserError, match="rater"):
        Work(name, RUBRIC, TALKS)


def test_a_taken_port_is_told(page, tmp_path):
    with (
        Book(tmp_path / "B.jsonl", "B") as book,
        pytest.raises(UserError, match=f"port {page.port}: .*--port"),
    ):
        Annotation(Work("B", RUBRIC, TALKS), book, page.port)


def test_it_listens_on_this_machine_alone(page):
    assert page._server.server_address[0] == "127.0.0.1"
