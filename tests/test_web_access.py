"""Who may use what: every route against every role, by every means, as one table."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from tests.conftest import need_module
from tests.web_guarded import HOST, PROXY, config, from_proxy, guarded_app, path_of
from web import csrf
from web.api_keys import ApiKeyError, ApiKeys, new_key, read_keys, revoke
from web.commands import COMMANDS
from web.config import Access
from web.permissions import API, PERMISSIONS, PUBLIC, roles_of, route_key, routes
from web.principal import Means, Principal, Role

# route: nobody, clinician, researcher, operator, auditor; written by hand, from the contract rather than from the table
TABLE = """
GET /                                 - C R - -
GET /case/<>                          - C R - -
GET /samples/<>                       - C R - -
POST /watch                           - C R - -
GET /intended-use                     N C R O A
GET /signed-out                       N C R O A
GET /sign-in                          N C R O A
GET /sign-in/callback                 N C R O A
POST /sign-out                        N C R O A
GET /static/<>                        N C R O A
GET /api/v1/health                    N C R O A
GET /api/v1/ready                     N C R O A
GET /api/v1/openapi.json              - C R O A
GET /api/v1/docs                      - C R O A
GET /api/v1/snapshot                  - C R O A
GET /api/v1/metrics                   - - - O -
GET /api/v1/filters                   - C R - -
POST /api/v1/queries                  - C R - -
GET /api/v1/queries/<>                - C R - -
DELETE /api/v1/queries/<>             - C R - -
GET /api/v1/queries/<>/preview        - C R - -
GET /api/v1/queries/<>/frames         - C R - -
GET /api/v1/queries/<>/frames/<>      - C R - -
GET /api/v1/cases/<>                  - C R - -
GET /api/v1/cases/<>/preview          - C R - -
GET /api/v1/cases/<>/frames           - C R - -
GET /api/v1/cases/<>/frames/<>        - C R - -
POST /api/v1/cases/<>/queries         - C R - -
"""
LETTERS = {None: "N", Role.CLINICIAN: "C", Role.RESEARCHER: "R", Role.OPERATOR: "O", Role.AUDITOR: "A"}
ROWS = {" ".join(words[:2]): words[2:] for words in (line.split() for line in TABLE.strip().splitlines())}
EVERYBODY: list[Role | None] = [None, *Role]
NO_SUCH = {"GET /static/<>"}  # the stand-in has no file there


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    folder = tmp_path_factory.mktemp("access")
    with guarded_app(config(folder, api_keys=folder / "keys.json")).test_client() as client:
        yield client


def test_the_table_of_the_server_has_the_routes_of_this_one() -> None:
    assert PERMISSIONS.keys() == ROWS.keys()


@pytest.mark.parametrize("role", EVERYBODY)
@pytest.mark.parametrize("key", ROWS)
def test_who_may_use_what(client: FlaskClient, key: str, role: Role | None) -> None:
    client.application.config["RATELIMIT_ENABLED"] = False
    method = key.split(" ")[0]
    nobody: dict[str, Any] = {"base_url": HOST, "environ_base": {"REMOTE_ADDR": PROXY}}
    asked = from_proxy("anna", role.value) if role else nobody
    if role and method in ("POST", "DELETE"):
        asked["headers"] |= {"X-CSRF-Token": token_for(client, role)}
    status = client.open(path_of(key), method=method, **asked).status_code
    if LETTERS[role] in ROWS[key]:
        assert status in (200, 302, 303) or (key in NO_SUCH and status == 404)
    else:
        assert status == (403 if role else 401)


def token_for(client: FlaskClient, role: Role) -> str:
    """Also for a role that may not see the page, from which a token would be had."""
    anna = Principal("anna", frozenset({role}), "proxy:anna", Means.PROXY)
    key = client.application.secret_key
    assert key is not None
    return csrf.token(key, anna, "")


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_route_that_is_not_in_the_table_is_refused_to_everybody(client: FlaskClient, role: Role, method: str) -> None:
    asked = from_proxy("anna", role.value)
    asked["headers"] |= {"X-CSRF-Token": token_for(client, role)}
    assert client.open("/not-in-the-table", method=method, **asked).status_code == 403


def test_several_roles_may_do_what_any_of_them_may(client: FlaskClient) -> None:
    assert client.get(f"{API}/metrics", **from_proxy(roles="clinician,operator")).status_code == 200
    assert client.get("/", **from_proxy(roles="clinician,operator")).status_code == 200


def test_what_is_not_there_is_told_to_anybody(client: FlaskClient) -> None:
    assert client.get("/nowhere", base_url=HOST, environ_base={"REMOTE_ADDR": PROXY}).status_code == 404


def test_options_tell_the_methods_to_those_who_may_use_one(client: FlaskClient) -> None:
    assert client.options(f"{API}/filters", **from_proxy()).status_code == 200
    assert client.options(f"{API}/filters", **from_proxy(roles="operator")).status_code == 403
    assert client.options("/not-in-the-table", **from_proxy()).status_code == 403


def test_head_goes_with_get(client: FlaskClient) -> None:
    assert client.head(f"{API}/metrics", **from_proxy(roles="operator")).status_code == 200
    assert client.head(f"{API}/metrics", **from_proxy(roles="clinician")).status_code == 403


@pytest.mark.parametrize(
    ("rule", "key"),
    [("/cases/<ref>", "GET /cases/<>"), ("/a/<int:n>/b/<string(length=2):m>", "GET /a/<>/b/<>"), ("/", "GET /")],
)
def test_names_in_a_route_do_not_count(rule: str, key: str) -> None:
    assert route_key("HEAD", rule) == route_key("GET", rule) == key


def test_a_refusal_of_somebody_known_is_audited(tmp_path: Path) -> None:
    client = guarded_app(config(tmp_path)).test_client()
    client.get("/api/v1/cases/7?secret=1", **from_proxy("oli", "operator"))
    client.get("/api/v1/cases/7", base_url=HOST)  # nobody known: else anybody could fill the disk
    text = (tmp_path / "audit.jsonl").read_text()
    assert text.count("\n") == 1
    assert '"action":"refused"' in text and '"who":"oli"' in text and '"route":"GET /api/v1/cases/<>"' in text
    assert "secret" not in text


def key_for(folder: Path, role: Role, **others: object) -> str:
    days = timedelta(days=1)
    return new_key(folder / "keys.json", f"{role.value}-{len(others)}", role, expires=datetime.now(UTC) + days)


@pytest.mark.parametrize("role", Role)
def test_a_key_has_its_role_and_no_other(tmp_path: Path, role: Role) -> None:
    client = guarded_app(config(tmp_path, api_keys=tmp_path / "keys.json")).test_client()
    headers = {"Authorization": f"Bearer {key_for(tmp_path, role)}"}
    for key, letters in ROWS.items():
        if key.startswith(f"GET {API}"):
            status = client.get(path_of(key), headers=headers, base_url=HOST).status_code
            assert status == (200 if LETTERS[role] in letters else 403), key


@pytest.mark.parametrize("access", Access)
def test_a_wrong_key_is_refused_whatever_else_is_brought(tmp_path: Path, access: Access) -> None:
    others = {"oidc_issuer": "https://sso.example", "oidc_client_id": "x"} if access is Access.OIDC else {}
    client = guarded_app(config(tmp_path, access, api_keys=tmp_path / "keys.json", **others)).test_client()
    good = key_for(tmp_path, Role.CLINICIAN)
    asked = from_proxy() if access is Access.PROXY else {"headers": {}}
    for wrong in (good[:-1] + ("A" if good[-1] != "A" else "B"), "lk_", "lk_000000000000_" + "A" * 43, f"{good} x"):
        asked["headers"] |= {"Authorization": f"Bearer {wrong}"}
        answer = client.get("/api/v1/filters", **asked)
        assert answer.status_code == 401
        assert wrong not in answer.text
    asked["headers"] |= {"Authorization": f"Bearer {good}"}
    assert client.get("/api/v1/filters", **asked).text == "key:clinician-0"


def test_a_server_without_keys_takes_none(tmp_path: Path) -> None:
    client = guarded_app(config(tmp_path)).test_client()
    asked = {"Authorization": f"Bearer {key_for(tmp_path, Role.CLINICIAN)}"}
    assert client.get("/api/v1/filters", headers=asked, base_url=HOST).status_code == 401


def test_a_key_may_post_without_a_token_of_the_page(tmp_path: Path) -> None:
    client = guarded_app(config(tmp_path, api_keys=tmp_path / "keys.json")).test_client()
    asked = {"Authorization": f"Bearer {key_for(tmp_path, Role.CLINICIAN)}"}
    assert client.post("/api/v1/queries", headers=asked, base_url=HOST).status_code == 200


def test_keys_end_by_day_and_by_revocation_while_the_server_runs(tmp_path: Path) -> None:
    path, now = tmp_path / "keys.json", datetime.now(UTC)
    keys = ApiKeys(path)
    day = new_key(path, "day", Role.CLINICIAN, expires=now + timedelta(days=1))
    ended = new_key(path, "ended", Role.CLINICIAN, expires=now - timedelta(1), now=now - timedelta(2))
    found = keys.principal(day)
    assert found is not None and (found.name, found.means) == ("key:day", Means.API_KEY)
    assert keys.remembered(day) == found
    assert keys.principal(ended) is None
    assert revoke(path, "day") == 1
    assert keys.remembered(day) is None and keys.principal(day) is None
    assert revoke(path, "day") == 0
    path.unlink()
    assert keys.principal(day) is None


def test_what_is_kept_of_a_key_does_not_open(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    later = datetime.now(UTC) + timedelta(days=1)
    key = new_key(path, "one", Role.CLINICIAN, expires=later)
    other = new_key(path, "two", Role.CLINICIAN, expires=later)
    kept = path.read_text()
    assert key.split("_", 2)[2] not in kept and other.split("_", 2)[2] not in kept
    one, two = read_keys(path)
    assert one.salt != two.salt and len(bytes.fromhex(one.hash)) == 64
    assert path.stat().st_mode & 0o007 == 0
    assert ApiKeys(path).principal(f"lk_{one.id}_{one.hash[:43]}") is None
    assert ApiKeys(path).principal(f"lk_{one.id}_{other.split('_', 2)[2]}") is None


def test_a_file_of_keys_that_anybody_may_write_lets_nobody_in(tmp_path: Path) -> None:
    client = guarded_app(config(tmp_path, api_keys=tmp_path / "keys.json")).test_client()
    asked = {"Authorization": f"Bearer {key_for(tmp_path, Role.CLINICIAN)}"}
    (tmp_path / "keys.json").chmod(0o666)
    assert client.get("/api/v1/filters", headers=asked, base_url=HOST).status_code == 503
    with pytest.raises(ApiKeyError, match="anybody"):
        read_keys(tmp_path / "keys.json")


@pytest.mark.parametrize("content", ["", "[]", '{"keys": [{}]}', '{"keys": 3}'])
def test_a_file_that_is_no_keys_lets_nobody_in(tmp_path: Path, content: str) -> None:
    (tmp_path / "keys.json").write_text(content)
    with pytest.raises(ApiKeyError):
        ApiKeys(tmp_path / "keys.json").principal("lk_000000000000_" + "A" * 43)


def test_a_wrong_secret_costs_as_much_as_a_right_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are derived in full and compared in constant time."""
    key = key_for(tmp_path, Role.CLINICIAN)
    compared: list[tuple[int, int]] = []

    def compare(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return one == other

    monkeypatch.setattr("web.api_keys.hmac.compare_digest", compare)
    keys = ApiKeys(tmp_path / "keys.json")
    keys.principal(key)
    keys.principal(key[:-5] + "AAAAA")
    assert compared == [(128, 128), (128, 128)]


def test_keys_by_command(tmp_path: Path) -> None:
    command = next(command for command in COMMANDS if command.name == "api-key")
    environ = {"LIKEWISE_API_KEYS": str(tmp_path / "keys.json")}

    def run(*arguments: str) -> tuple[int, str, str]:
        done = CliRunner().invoke(command, arguments, env=environ)
        return done.exit_code, done.stdout, done.stderr

    code, key, told = run("new", "night-study", "--role", "researcher", "--days", "7")
    assert code == 0 and "researcher" in told
    found = ApiKeys(tmp_path / "keys.json").principal(key.strip())
    assert found is not None and found.roles == {Role.RESEARCHER}
    assert run("new", "night-study", "--role", "operator")[0] == 2  # taken
    assert run("new", "no name", "--role", "operator")[0] == 2
    assert run("new", "x", "--role", "doctor")[0] == 2
    assert run("new", "x", "--role", "operator", "--days", "4000")[0] == 2
    code, listed, _ = run("list")
    assert code == 0 and "night-study  researcher  good" in listed
    assert key.strip().split("_", 2)[2] not in listed
    assert run("revoke", "night-study")[0] == 0
    assert "night-study  researcher  revoked" in run("list")[1]
    assert run("revoke", "night-study")[0] == 2
    assert run("new", "night-study", "--role", "operator")[0] == 0


def test_every_route_of_the_real_app_is_in_the_table(tmp_path: Path, small_index: Path) -> None:
    need_module("web.pages")
    from web import create_app

    settings = config(tmp_path, index=small_index)
    app = create_app(settings)
    found = set(routes(app))
    assert found <= PERMISSIONS.keys()
    for rule in app.url_map.iter_rules():
        assert all(roles_of(method, rule) is not None for method in rule.methods or ())
    client = app.test_client()
    for key in found & PERMISSIONS.keys():
        if PERMISSIONS[key] != PUBLIC:
            method = key.split(" ")[0]
            answer = client.open(path_of(key), method=method, base_url=HOST)
            assert answer.status_code == 401, key
            assert answer.headers["X-Request-ID"] in answer.text
