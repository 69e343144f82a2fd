"""What keeps strangers out of a browser's session and strange requests out of the server; and what is told to run it."""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from flask import Flask, request
from flask.testing import FlaskClient
from flask_limiter import RateLimitExceeded

from tests.conftest import missing
from tests.web_guarded import HOST, SECRET, config, from_proxy, guarded_app
from web import csrf, limits
from web.config import Access, Config, ConfigError
from web.headers import content_security_policy
from web.principal import DEMO, Means, Principal, Role
from web.problems import failure_of

ROOT = Path(__file__).parents[1]
ANNA = Principal("anna", frozenset({Role.CLINICIAN}), "proxy:anna", Means.PROXY)
BERT = Principal("bert", frozenset({Role.CLINICIAN}), "proxy:bert", Means.PROXY)


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return guarded_app(config(tmp_path))


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def post(client: FlaskClient, path: str = "/api/v1/queries", **headers: str) -> int:
    """The status of a POST by anna over the proxy with these headers (`_` for `-`)."""
    asked = from_proxy()
    asked["headers"] |= {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(path, **asked).status_code


def test_an_unsafe_request_needs_the_pages_token(client: FlaskClient) -> None:
    token = client.get("/", **from_proxy()).text.split()[1]
    assert post(client, X_CSRF_Token=token) == 200
    assert post(client) == 403
    assert post(client, X_CSRF_Token="") == 403
    assert post(client, X_CSRF_Token=token[:-1] + ("0" if token[-1] != "0" else "1")) == 403
    assert post(client, X_CSRF_Token="\xe9") == 403


def test_a_token_is_of_one_person_session_and_key() -> None:
    token = csrf.token(SECRET, ANNA, "s", now=0)
    assert token == csrf.token(SECRET, ANNA, "s", now=1)
    for other in (
        csrf.token(SECRET, BERT, "s", now=0),
        csrf.token(SECRET, ANNA, "t", now=0),
        csrf.token("x", ANNA, "s", now=0),
        csrf.token(SECRET, None, "s", now=0),
    ):
        assert token != other


@pytest.mark.parametrize(("hours", "status"), [(0, 200), (11.9, 200), (12.1, 200), (24.1, 403)])
def test_a_token_ends(client: FlaskClient, monkeypatch: pytest.MonkeyPatch, hours: float, status: int) -> None:
    begin = (time.time() // csrf.PERIOD_SECONDS) * csrf.PERIOD_SECONDS
    token = csrf.token(SECRET, ANNA, "", now=begin)
    monkeypatch.setattr("web.csrf.time.time", lambda: begin + hours * 3600)
    assert post(client, X_CSRF_Token=token) == status


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://likewise.example"},  # the same name, but not over TLS
        {"Origin": "https://likewise.example:8443"},
        {"Origin": "https://likewise.example.evil.example"},
        {"Origin": "https://[likewise"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_another_sites_page_is_refused_even_with_a_token(client: FlaskClient, headers: dict[str, str]) -> None:
    assert post(client, X_CSRF_Token=csrf.token(SECRET, ANNA, ""), **headers) == 403


@pytest.mark.parametrize(
    "origin", ["https://likewise.example", "https://likewise.example:443", "https://LIKEWISE.example"]
)
def test_its_own_page_is_not(client: FlaskClient, origin: str) -> None:
    token = csrf.token(SECRET, ANNA, "")
    assert post(client, X_CSRF_Token=token, Origin=origin, Sec_Fetch_Site="same-origin") == 200


def test_a_token_in_an_upload_is_not_looked_for(client: FlaskClient) -> None:
    """Reading a form to find it would read the upload of somebody who may not be let in."""
    data = {"csrf_token": csrf.token(SECRET, ANNA, "")}
    assert client.post("/sign-out", data=data, **from_proxy()).status_code == 303
    upload = client.post("/api/v1/queries", data=data, content_type="multipart/form-data", **from_proxy())
    assert upload.status_code == 403


def demo(folder: Path) -> FlaskClient:
    return guarded_app(config(folder, Access.DEMO, trusted_proxies=("127.0.0.1",))).test_client()


def test_a_demo_needs_no_sign_in(tmp_path: Path) -> None:
    client = demo(tmp_path)
    assert client.get("/").text.startswith("demo ")
    assert client.get("/api/v1/metrics").status_code == 403  # it is a clinician's view
    assert DEMO.roles == {Role.CLINICIAN}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:5000", "localhost:5000", "[::1]:5000", "LOCALHOST"])
def test_a_demo_answers_to_this_computers_names(tmp_path: Path, host: str) -> None:
    assert demo(tmp_path).get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:5000",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "192.168.0.7",
        "[::2]",
        "0.0.0.0",
    ],
)
@pytest.mark.parametrize("path", ["/", "/intended-use", "/api/v1/health", "/nowhere"])
def test_a_demo_answers_to_no_other_name(tmp_path: Path, host: str, path: str) -> None:
    """A name of another's that was made to mean this computer (DNS rebinding)."""
    assert demo(tmp_path).get(path, headers={"Host": host}).status_code in (400, 403)


@pytest.mark.parametrize("address", ["192.168.0.7", "10.0.0.1", "::ffff:192.168.0.7", "2001:db8::1", ""])
def test_a_demo_answers_no_other_computer(tmp_path: Path, address: str) -> None:
    assert demo(tmp_path).get("/", environ_base={"REMOTE_ADDR": address}).status_code == 403


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_a_demo_answers_this_one(tmp_path: Path, address: str) -> None:
    assert demo(tmp_path).get("/", environ_base={"REMOTE_ADDR": address}).status_code == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "X-Forwarded-Host"])
def test_a_demo_does_not_stand_behind_a_proxy(tmp_path: Path, header: str) -> None:
    """Which would make everybody's request come from this computer."""
    assert demo(tmp_path).get("/", headers={header: "127.0.0.1"}).status_code == 403


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.7", "::", "", "likewise.example"])
def test_a_demo_does_not_listen_for_others(tmp_path: Path, host: str) -> None:
    """By the settings, or else by the guard."""
    with pytest.raises(Exception, match=r"demo|loopback"):
        guarded_app(config(tmp_path, Access.DEMO, host=host))


def test_a_demo_serves_programs_but_no_other_page(tmp_path: Path) -> None:
    client = demo(tmp_path)
    assert client.post("/api/v1/queries").status_code == 200
    assert client.post("/api/v1/queries", headers={"Origin": "https://evil.example"}).status_code == 403
    assert (
        client.post("/api/v1/queries", headers={"Origin": "http://localhost"}).status_code == 403
    )  # without its token
    token = client.get("/").text.split()[1]
    own = {"Origin": "http://localhost", "X-CSRF-Token": token}
    assert client.post("/api/v1/queries", headers=own).status_code == 200


def test_what_an_unlisted_peer_says_of_the_client_is_not_believed(app: Flask) -> None:
    seen: dict[str, Any] = {}

    @app.before_request
    def look() -> None:
        seen.update(address=request.remote_addr, host=request.host, secure=request.is_secure)

    said = {"X-Forwarded-For": "1.1.1.1, 2.2.2.2", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "likewise.example"}
    app.test_client().get("/", headers=said, environ_base={"REMOTE_ADDR": "10.1.1.1"})
    assert seen == {}  # refused before
    asked = from_proxy()
    asked["headers"] |= said
    app.test_client().get("/", **(asked | {"base_url": "http://inside:8000"}))
    assert seen == {"address": "2.2.2.2", "host": "likewise.example", "secure": True}


def test_only_https_brings_hsts(client: FlaskClient) -> None:
    assert client.get("/signed-out", base_url="https://h").headers["Strict-Transport-Security"] == "max-age=31536000"
    spoofed = client.get("/signed-out", base_url="http://h", headers={"X-Forwarded-Proto": "https"})
    assert "Strict-Transport-Security" not in spoofed.headers


def test_the_policy_allows_nothing_inline_and_nothing_from_elsewhere() -> None:
    policy = dict(part.split(" ", 1) for part in content_security_policy().split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
    allowed = {word for value in policy.values() for word in value.split()}
    assert allowed == {"'none'", "'self'", "blob:", "data:"}


@pytest.mark.parametrize("path", ["/", "/nowhere", "/api/v1/filters", "/api/v1/metrics", "/static/nothing.js"])
@pytest.mark.parametrize("signed_in", [True, False])
def test_every_answer_has_the_headers(client: FlaskClient, path: str, signed_in: bool) -> None:
    answer = client.get(path, **(from_proxy() if signed_in else {"base_url": HOST}))
    assert "script-src 'self';" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Strict-Transport-Security" in answer.headers
    if not path.startswith("/static"):
        assert answer.headers["Cache-Control"] == "no-store"
    assert len(answer.headers["X-Request-ID"]) == 16
    assert "Retry-After" not in answer.headers


def test_a_request_keeps_the_name_that_the_trusted_proxy_gave_it(client: FlaskClient) -> None:
    asked = from_proxy()
    asked["headers"] |= {"X-Request-ID": "abcd-1234-proxy"}
    assert client.get("/", **asked).headers["X-Request-ID"] == "abcd-1234-proxy"
    asked["environ_base"] = {"REMOTE_ADDR": "10.1.1.1"}
    assert client.get("/", **asked).headers["X-Request-ID"] != "abcd-1234-proxy"
    asked = from_proxy()
    asked["headers"] |= {"X-Request-ID": 'a"b<script>'}
    assert client.get("/", **asked).headers["X-Request-ID"] != 'a"b<script>'


def big(client: FlaskClient, path: str, size: int) -> int:
    asked = from_proxy()
    asked["headers"] |= {"X-CSRF-Token": csrf.token(SECRET, ANNA, "")}
    return client.post(path, **asked, environ_overrides={"CONTENT_LENGTH": str(size)}).status_code


def test_a_body_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    client = guarded_app(config(tmp_path, upload_mb=2)).test_client()
    assert big(client, "/api/v1/queries", 2 * 1024 * 1024) == 200
    assert big(client, "/api/v1/queries", 2 * 1024 * 1024 + 1) == 413
    assert big(client, "/api/v1/queries", 2 * 1024**3) == 413
    assert big(client, "/api/v1/cases/7/queries", 1_000_001) == 413
    assert big(client, "/sign-out", 1_000_001) == 413


def test_who_asks_too_often_is_told_so_in_a_sentence() -> None:
    told = failure_of(RateLimitExceeded(SimpleNamespace(error_message=None, limit="30 per 1 minute")))  # type: ignore[arg-type]
    assert told is not None and told.status == 429
    assert told.detail == "you have asked too often (at most 30 per 1 minute); wait a moment"


def test_questions_are_counted_for_each_person(client: FlaskClient) -> None:
    most = int(limits.QUERIES.split()[0])
    for _ in range(most):
        assert post(client, X_CSRF_Token=csrf.token(SECRET, ANNA, "")) == 200
    asked = from_proxy()
    asked["headers"] |= {"X-CSRF-Token": csrf.token(SECRET, ANNA, "")}
    answer = client.post("/api/v1/queries", **asked)
    assert answer.status_code == 429 and 0 < int(answer.headers["Retry-After"]) <= 60
    bert = from_proxy("bert")
    bert["headers"] |= {"X-CSRF-Token": csrf.token(SECRET, BERT, "")}
    assert client.post("/api/v1/queries", **bert).status_code == 200
    assert client.get("/", **from_proxy()).status_code == 200  # looking goes on


def test_guessing_keys_is_slowed_down_for_its_address_alone(tmp_path: Path) -> None:
    client = guarded_app(config(tmp_path, api_keys=tmp_path / "keys.json")).test_client()

    def guess(address: str) -> int:
        headers = {"Authorization": "Bearer lk_000000000000_" + "A" * 43}
        return client.get("/api/v1/filters", headers=headers, environ_base={"REMOTE_ADDR": address}).status_code

    found = [guess("10.5.5.5") for _ in range(12)]
    assert found == [401] * 10 + [429] * 2
    assert guess("10.5.5.6") == 401


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return found


def test_the_image_runs_as_nobody_in_particular_and_is_looked_after() -> None:
    steps = [
        line.split(maxsplit=1)
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line and line[0] not in "# "
    ]
    last = {step: rest for step, rest in steps}
    assert last["USER"] not in ("root", "0") and last["USER"].split(":")[0].isdigit()
    assert "HEALTHCHECK" in last and last["CMD"].startswith('["gunicorn"')
    assert not any("torch" in rest for step, rest in steps if step == "RUN")
    for name in (rest.split() for step, rest in steps if step == "COPY"):
        for source in (word for word in name[:-1] if not word.startswith("--")):
            assert "--from" in " ".join(name) or (ROOT / source).exists(), source


def test_the_containers_can_write_nowhere_but_where_they_have_to() -> None:
    services = compose()["services"]
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert "privileged" not in service, name
    web = services["web"]
    assert "ports" not in web  # only the proxy is seen from outside
    writable = [volume for volume in web["volumes"] if not volume.endswith(":ro")]
    assert [volume.rsplit(":", 1)[1] for volume in writable] == ["/var/log/likewise"]
    assert any(mount.startswith("/tmp") and "noexec" in mount for mount in web["tmpfs"])


def test_the_upload_limits_agree() -> None:
    """The proxy's is a little above, for what a form adds; then the server's own message is seen."""
    nginx = (ROOT / "deploy" / "nginx.conf").read_text()
    (most,) = (
        int(line.split()[1].strip("m;"))
        for line in nginx.splitlines()
        if "client_max_body_size" in line and "520m" in line
    )
    assert config(Path("/tmp")).upload_mb < most <= config(Path("/tmp")).upload_mb + 16


def test_the_proxy_writes_no_upload_to_disk_and_believes_no_client() -> None:
    nginx = (ROOT / "deploy" / "nginx.conf").read_text()
    assert "proxy_request_buffering off;" in nginx
    assert "proxy_max_temp_file_size 0;" in nginx
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in nginx
    assert "proxy_set_header X-Remote-User" in nginx and "proxy_set_header X-Remote-Roles" in nginx
    assert "client_body_timeout" in nginx and "client_header_timeout" in nginx
    assert "$query_string" not in nginx and "$request_uri" not in nginx and "$http_referer" not in nginx


def complaints(folder: Path, spoil: tuple[str, str] = ("", "")) -> str:
    """What systemd-analyze says of the web units, with an interpreter standing where they expect one."""
    if shutil.which("systemd-analyze") is None:
        missing("systemd-analyze")
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    units = ("likewise-web.service", "likewise-web.socket")
    for unit in units:
        text = (ROOT / "deploy" / unit).read_text().replace("/opt/likewise", str(folder))
        (folder / unit).write_text(text.replace(*spoil) if spoil[0] else text)
    command = ["systemd-analyze", "verify", "--man=no", *(str(folder / unit) for unit in units)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout + done.stderr + ("" if done.returncode == 0 else f"exit {done.returncode}")


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    assert complaints(tmp_path) == ""


@pytest.mark.parametrize(
    ("right", "wrong"), [("SocketMode=", "SockMode="), ("bin/python", "bin/pyhton"), ("=0\n", "=O\n")]
)
def test_a_spoilt_unit_is_not_accepted(tmp_path: Path, right: str, wrong: str) -> None:
    assert complaints(tmp_path, (right, wrong)) != ""


def test_scans_in_memory_reach_neither_swap_nor_core_dumps() -> None:
    unit = (ROOT / "deploy" / "likewise-web.service").read_text().splitlines()
    assert {"MemorySwapMax=0", "LimitCORE=0", "PrivateTmp=yes", "ProtectSystem=strict"} <= set(unit)
    for service in compose()["services"].values():
        assert service["mem_limit"] == service["memswap_limit"] and service["ulimits"]["core"] == 0


def environment() -> dict[str, str]:
    """What the example sets, with the lines that are for another way in."""
    lines = (ROOT / "deploy" / "likewise-web.env.example").read_text().replace("#LIKEWISE_", "LIKEWISE_").splitlines()
    return dict(line.split("=", 1) for line in lines if line.startswith("LIKEWISE_"))


def test_the_server_takes_the_example_once_its_secrets_are_filled_in() -> None:
    """It is refused as it stands: an empty secret key would let anybody sign sessions."""
    with pytest.raises(ConfigError):
        Config.from_environment(environment())
    taken = Config.from_environment(
        environment() | {"LIKEWISE_SECRET_KEY": "k" * 64, "LIKEWISE_OIDC_CLIENT_SECRET": "c"}
    )
    assert taken.access is Access.OIDC
    assert (str(taken.audit), str(taken.api_keys)) == (
        "/var/log/likewise/audit.jsonl",
        "/etc/likewise/keys/api-keys.json",
    )
    assert taken.oidc_issuer == "https://sso.hospital.example/realms/hospital"
    assert (taken.session_minutes, taken.upload_mb, taken.query_minutes, taken.queries_held) == (30, 512, 15, 64)
    assert [str(proxy) for proxy in taken.trusted_proxies] == ["unix"]


def test_gunicorn_takes_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """By gunicorn's own reader, which refuses unknown names and bad values."""
    from gunicorn.app.base import Application

    class Reads(Application):  # type: ignore[misc]
        def init(self, *_: object) -> None:
            """Nothing on a command line."""

        def load(self) -> None:
            """No app."""

    monkeypatch.setattr("sys.argv", ["gunicorn"])
    reader = Reads()
    reader.load_config_from_file(str(ROOT / "deploy" / "gunicorn.conf.py"))
    settings = reader.cfg
    assert not settings.preload_app and settings.worker_class_str == "web.worker.PatientThreads"
    assert settings.threads > 1 and settings.workers == 1  # scans are held by the process that took them
    assert settings.worker_tmp_dir == "/dev/shm"
    assert settings.accesslog is None  # the server's own log has no addresses with names in them
    assert settings.timeout >= 60 and settings.control_socket_disable


def rows(name: str, columns: int) -> list[list[str]]:
    """The cells of the tables of that many columns in a page of docs/."""
    lines = (ROOT / "docs" / name).read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return [row for row in cells if len(row) == columns]


def test_the_hazards_risks_are_those_of_the_matrix() -> None:
    (_, *likelihoods), *severities = rows("hazard-log.md", 6)
    matrix = {
        (row[0], likelihood): risk for row in severities for likelihood, risk in zip(likelihoods, row[1:], strict=True)
    }
    _, *hazards = rows("hazard-log.md", 9)
    assert [row[0] for row in hazards] == [f"H{number:02}" for number in range(1, len(hazards) + 1)]
    for row in hazards:
        assert row[7] == matrix[row[5], row[6]], row[0]
