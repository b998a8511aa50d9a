"""The operator's console: nobody without the token, no form from elsewhere, and the words of others are only words."""

from __future__ import annotations

import asyncio
import http.client
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from mpc.errors import LocalError
from parties.console import words
from parties.console.session import LASTS, MINUTE, MOST_WRONG, Sessions
from parties.console.tokens import PEOPLE, issue, people, revoke
from parties.console.words import CHINESE
from parties.consortium import free_ports
from parties.node import over
from tests.parties import world
from tests.parties.conftest import Running, serving

HOSTILE = "<script>alert('x')</script>"


@dataclass
class Browser:
    """A person's browser: keeps cookies, follows nothing by itself."""

    port: int
    certificate: Path
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: str = "", **headers: str) -> tuple[int, Any, str]:
        context = ssl.create_default_context(cafile=str(self.certificate))
        context.check_hostname = False  # the certificate is pinned: it is the only root
        link = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=20)
        cookie = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        kind = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        link.request(method, path, body or None, {"Cookie": cookie, **kind, **headers})
        answer = link.getresponse()
        for line in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        text = answer.read().decode()
        link.close()
        return answer.status, answer.headers, text

    def get(self, path: str, **headers: str) -> str:
        status, _, text = self.ask("GET", path, **headers)
        assert status == 200, (status, text)
        return text

    def post(self, path: str, **fields: str) -> tuple[int, Any, str]:
        return self.ask("POST", path, urlencode(fields))

    def login(self, folder: Path, person: str = "Li Na") -> None:
        status, headers, _ = self.post("/login", token=issue(folder, person))
        assert (status, headers["Location"]) == (303, "/")

    def csrf(self, page: str) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', page)
        assert found
        return found[1]


@dataclass
class Scene:
    running: Running
    folder: Path
    browser: Browser

    async def apart(self, work: Any, *args: Any, **kwargs: Any) -> Any:
        return await self.running.apart(work, *args, **kwargs)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """Three banks; bank_a decides by hand and has a console."""
    consortium = world.make(tmp_path)
    folder = consortium / "bank_a"
    [port] = free_ports("127.0.0.1", 1)
    settings = (folder / "member.toml").read_text()
    (folder / "member.toml").write_text(settings + f'\nconsole = "127.0.0.1:{port}"\n')
    policy = (folder / "policy.toml").read_text()
    (folder / "policy.toml").write_text(policy.replace('approval = "auto"', 'approval = "manual"'))
    assert 'approval = "manual"' in (folder / "policy.toml").read_text()
    async with serving(consortium) as running:
        yield Scene(running, folder, Browser(port, folder / "keys" / "tls.crt"))


async def waiting(scene: Scene, purpose: str = HOSTILE) -> str:
    """A job that waits for bank_a's word."""
    job = (await scene.running.ask("analyst", "submit", world.TOGETHER, "analyst", purpose=purpose)).id
    for _ in range(100):
        if job[:16] in await scene.apart(scene.browser.get, "/pending"):
            return str(job)
        await asyncio.sleep(0.1)
    raise AssertionError("the job never came")


async def test_nothing_is_shown_without_the_token(scene: Scene) -> None:
    for path in ("/", "/pending", "/pending/" + "ab" * 32, "/policy", "/released", "/standing", "/stop", "/nothing"):
        status, headers, text = await scene.apart(scene.browser.ask, "GET", path)
        assert (status, headers["Location"], text) == (303, "/login", "")
    for path in ("/logout", "/standing", "/stop", "/pending/" + "ab" * 32):
        status, _, _ = await scene.apart(scene.browser.post, path, verdict="approved", csrf="")
        assert status == 303
    assert "bank_a" in await scene.apart(scene.browser.get, "/login")


async def test_wrong_tokens_and_too_many(scene: Scene) -> None:
    for _ in range(MOST_WRONG):
        status, headers, text = await scene.apart(scene.browser.post, "/login", token="guess")
        assert (status == 403 and "nobody&#39;s token" in text) or "Too many" in text
        assert "Set-Cookie" not in headers
    good = issue(scene.folder, "Li Na")
    status, _, text = await scene.apart(scene.browser.post, "/login", token=good)
    assert status == 403 and "Too many wrong tokens" in text


async def test_cookies_and_headers(scene: Scene) -> None:
    good = issue(scene.folder, "Li Na")
    _, headers, _ = await scene.apart(scene.browser.post, "/login", token=good)
    cookie = headers["Set-Cookie"].lower()
    assert all(w in cookie for w in ("__host-heji=", "httponly", "secure", "samesite=strict", "path=/"))
    _, headers, text = await scene.apart(scene.browser.ask, "GET", "/")
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "script" not in policy
    assert (headers["X-Frame-Options"], headers["Cache-Control"]) == ("DENY", "no-store")
    assert "Server" not in headers
    assert "<script" not in text and "http://" not in text and "https://" not in text
    assert (scene.folder / "keys" / "console-people.json").stat().st_mode & 0o077 == 0


async def test_a_request_is_approved_and_runs(scene: Scene) -> None:
    await scene.apart(scene.browser.login, scene.folder)
    job = await waiting(scene)
    overview = await scene.apart(scene.browser.get, "/")
    assert "One request waits" in overview and "accounts" in overview
    page = await scene.apart(scene.browser.get, f"/pending/{job}")
    assert "SUM(balance)" in page and "coordinator" in page and HOSTILE not in page
    assert "&lt;script&gt;" in page
    status, _, page = await scene.apart(
        scene.browser.post, f"/pending/{job}", csrf=scene.browser.csrf(page), verdict="approved", reason="monthly"
    )
    assert status == 200 and "Approved. The job" in page and "Li Na, 2" in page and ": monthly" in page
    assert "Nothing to the same recipient" in page
    await scene.running.ask("analyst", "wait", job)
    later = await waiting(scene, "later")
    page = await scene.apart(scene.browser.get, f"/pending/{later}")
    assert "Released here before" in page and "accounts.balance" in page and HOSTILE not in page
    await scene.running.ask("analyst", "cancel", later)
    released = await scene.apart(scene.browser.get, "/released")
    assert "analyst" in released and ("done" in released or "released" in released) and HOSTILE not in released


async def test_budgets_and_what_is_left(scene: Scene) -> None:
    policy = scene.folder / "policy.toml"
    auto = policy.read_text().replace('approval = "manual"', 'approval = "auto"').rstrip()
    policy.write_text(auto + '\nbudget = { epsilon = 1.0, per = "30d" }\nmin_contributors = 1\n')
    await scene.apart(scene.browser.login, scene.folder)
    assert "with noise, epsilon 1.0 in 30 days" in await scene.apart(scene.browser.get, "/policy")
    assert "Budgets of privacy loss" not in await scene.apart(scene.browser.get, "/released")
    await scene.running.query("SELECT COUNT(*) FROM bank_a.accounts", epsilon="0.3")
    page = await scene.apart(scene.browser.get, "/released")
    assert "Budgets of privacy loss" in page and "<td>0.7</td>" in page and "<td>analyst</td>" in page


async def test_what_others_wrote_turns_nothing_round(scene: Scene) -> None:
    await scene.apart(scene.browser.login, scene.folder)
    job = await waiting(scene, "risk \u202eyduts")
    for path in ("/pending", f"/pending/{job}"):
        page = await scene.apart(scene.browser.get, path)
        assert "risk \\u202eyduts" in page and "\u202e" not in page


async def test_a_request_is_rejected_with_a_reason(scene: Scene) -> None:
    await scene.apart(scene.browser.login, scene.folder)
    job = await waiting(scene, "study")
    csrf = scene.browser.csrf(await scene.apart(scene.browser.get, f"/pending/{job}"))
    status, _, page = await scene.apart(scene.browser.post, f"/pending/{job}", csrf=csrf, verdict="rejected")
    assert status == 409 and "needs a reason" in page
    status, _, page = await scene.apart(
        scene.browser.post, f"/pending/{job}", csrf=csrf, verdict="rejected", reason="not before the audit"
    )
    assert status == 200 and "Rejected. Whoever" in page and "Li Na" in page
    with pytest.raises(LocalError, match="not before the audit"):
        await scene.running.ask("analyst", "wait", job)
    assert "not before the audit" in await scene.apart(scene.browser.get, "/pending")


async def test_forms_from_elsewhere_are_refused(scene: Scene) -> None:
    await scene.apart(scene.browser.login, scene.folder)
    job = await waiting(scene, "study")
    for fields in ({}, {"csrf": "guess"}, {"csrf": ""}):
        status, _, page = await scene.apart(scene.browser.post, f"/pending/{job}", verdict="approved", **fields)
        assert status == 403 and "not from this session" in page
    status, _, _ = await scene.apart(scene.browser.ask, "POST", f"/pending/{job}", "x" * 100_000)
    assert status == 403
    assert job[:16] in await scene.apart(scene.browser.get, "/pending")
    await scene.running.ask("analyst", "cancel", job)


async def test_logging_out_ends_the_session(scene: Scene) -> None:
    await scene.apart(scene.browser.login, scene.folder)
    csrf = scene.browser.csrf(await scene.apart(scene.browser.get, "/"))
    cookie = scene.browser.cookies["__Host-heji"]
    await scene.apart(scene.browser.post, "/logout", csrf=csrf)
    scene.browser.cookies["__Host-heji"] = cookie  # who kept it has nothing
    status, _, _ = await scene.apart(scene.browser.ask, "GET", "/")
    assert status == 303


async def test_both_languages_and_a_broken_policy(scene: Scene) -> None:
    await scene.apart(scene.browser.login, scene.folder)
    assert "现行策略" in await scene.apart(scene.browser.get, "/policy", **{"Accept-Language": "zh-CN,zh;q=0.9"})
    assert "Policy in force" in await scene.apart(scene.browser.get, "/policy", **{"Accept-Language": "de"})
    assert "概览" in await scene.apart(scene.browser.get, "/?language=zh")
    assert "等待您决定" in await scene.apart(scene.browser.get, "/pending")  # kept in a cookie
    (scene.folder / "policy.toml").write_text(f"[[grant]]\ntable = 3 # {HOSTILE}\n")
    page = await scene.apart(scene.browser.get, "/policy?language=en")
    assert "cannot be read" in page and HOSTILE not in page


async def test_an_address_in_use_is_told(scene: Scene) -> None:
    settings = (scene.folder / "member.toml").read_text()
    other = scene.folder.parent / "bank_b"
    line = next(x for x in settings.splitlines() if x.startswith("console ="))
    await scene.running.stop("bank_b")
    (other / "member.toml").write_text((other / "member.toml").read_text() + f"\n{line}\n")
    with pytest.raises(LocalError, match=r"cannot listen on .* \(console\)"):
        await scene.running.start("bank_b")


def test_sessions_end(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    now, token = [1000], issue(tmp_path, "Li Na")
    sessions = Sessions(lambda: people(tmp_path), lambda: now[0])
    cookie = sessions.login(token + "\n")
    assert cookie and sessions.find(cookie)
    assert "csrf" not in repr(sessions.find(cookie))
    now[0] += LASTS
    assert sessions.find(cookie) is None
    cookie = sessions.login(token)
    assert cookie and sessions.find(cookie)
    revoke(tmp_path, "li na")  # with the token its sessions go
    assert sessions.find(cookie) is None and sessions.login(token) is None
    token = issue(tmp_path, "Li Na")
    for _ in range(MOST_WRONG):
        sessions.login("no")
    assert sessions.login(token) is None
    now[0] += MINUTE
    assert sessions.login(token)


def test_a_token_is_one_person(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    first, other, again = (issue(tmp_path, p) for p in ("Li Na", "Wang Wei", "li na"))
    assert list(people(tmp_path)) == ["Wang Wei", "li na"]  # a second token of one person takes the place of the first
    sessions = Sessions(lambda: people(tmp_path), lambda: 0)
    assert sessions.login(first) is None
    found = [sessions.find(sessions.login(t) or "") for t in (other, again)]
    assert [f.person for f in found if f] == ["Wang Wei", "li na"]
    text = (tmp_path / "keys" / PEOPLE).read_text()
    assert other not in text and again not in text  # hashes only
    (tmp_path / "keys" / PEOPLE).chmod(0o644)
    with pytest.raises(LocalError, match="can be read by others"):
        sessions.login(other)


async def test_two_persons_by_two_tokens(scene: Scene) -> None:
    policy = scene.folder / "policy.toml"
    policy.write_text(policy.read_text().replace('"manual"', '"two"'))
    await scene.apart(scene.browser.login, scene.folder)
    job = await waiting(scene, "study")

    async def approve() -> tuple[int, str]:
        page = await scene.apart(scene.browser.get, f"/pending/{job}")
        csrf = scene.browser.csrf(page)
        # a name in the form is nobody's: the token decides
        status, _, page = await scene.apart(
            scene.browser.post, f"/pending/{job}", csrf=csrf, verdict="approved", reason="", person="Wang Wei"
        )
        return status, page

    status, page = await approve()
    assert status == 200 and "Another person has to approve" in page and "one more person" in page
    assert "Li Na, 2" in page and "Wang Wei" not in page
    status, page = await approve()
    assert status == 409 and "approved the job already" in page
    await scene.apart(scene.browser.login, scene.folder, "Wang Wei")
    assert "Li Na" in await scene.apart(scene.browser.get, "/pending")
    status, page = await approve()
    assert status == 200 and "Approved. The job" in page and "Wang Wei, 2" in page
    await scene.running.ask("analyst", "wait", job)


async def test_standing_approvals(scene: Scene) -> None:
    text = f'''
[[standing]]
name = "{HOSTILE}"
sql = "SELECT SUM(balance) FROM bank_a.accounts WHERE grade = $grade"
to = ["analyst"]
purpose = "study"
parameters = {{ grade = ["A", "B"] }}
runs = 3
per = "month"
expires = 2099-12-31
epsilon = 0.50
from = ["tax"]
'''
    await scene.apart(scene.browser.login, scene.folder)
    assert "Nothing yet." in await scene.apart(scene.browser.get, "/standing")
    (scene.folder / "standing.toml").write_text(text)
    page = await scene.apart(scene.browser.get, "/standing")
    assert "<code>from = tax</code>" in page and "<code>epsilon = 0.5</code>" in page
    assert "$grade: A, B" in page and "0 of 3 (month)" in page and "Not in force" in page and HOSTILE not in page
    shown = re.search(r'name="digest" value="(.*?)"', page)
    assert shown
    form = {"csrf": scene.browser.csrf(page), "digest": shown[1]}
    (scene.folder / "standing.toml").write_text(text.replace("runs = 3", "runs = 300"))
    status, _, page = await scene.apart(scene.browser.post, "/standing", verdict="approved", **form)
    assert status == 409 and "changed since" in page and "Not in force" in page  # what was shown is what is approved
    (scene.folder / "standing.toml").write_text(text)
    status, _, page = await scene.apart(scene.browser.post, "/standing", verdict="approved", **form)
    assert status == 200 and "Li Na, 2" in page
    status, _, page = await scene.apart(scene.browser.post, "/standing", verdict="approved", **form)
    assert status == 409 and "Li Na has approved" in page and "Li Na, 2" in page  # what there is, is still shown
    status, _, page = await scene.apart(scene.browser.post, "/standing", verdict="withdrawn", **form)
    assert status == 200 and "Not in force" in page
    (scene.folder / "standing.toml").write_text("[[standing]]")
    status, _, page = await scene.apart(scene.browser.ask, "GET", "/standing")
    assert status == 409 and "line 1: name is missing" in page


async def test_stopping_and_resuming(scene: Scene) -> None:
    await scene.apart(scene.browser.login, scene.folder)
    job = await waiting(scene, "study")
    csrf = scene.browser.csrf(await scene.apart(scene.browser.get, "/stop"))
    status, _, _ = await scene.apart(scene.browser.post, "/stop", verdict="stop")
    assert status == 403
    status, _, page = await scene.apart(scene.browser.post, "/stop", csrf=csrf, verdict="stop", reason="a leak?")
    assert status == 200 and "No job runs here." in page and "a leak?" in page
    with pytest.raises(LocalError) as caught:
        await scene.running.ask("analyst", "wait", job)
    assert caught.value.code in ("policy.stopped", "policy.rejected")
    assert "No job runs here." in await scene.apart(scene.browser.get, "/")
    status, _, page = await scene.apart(scene.browser.post, "/stop", csrf=csrf, verdict="resume")
    assert status == 200 and "Stop now" in page
    status, _, page = await scene.apart(scene.browser.post, "/stop", csrf=csrf, verdict="resume")
    assert status == 409 and "not stopped" in page


async def test_what_an_operator_has_to_mend_is_shown(scene: Scene) -> None:
    await scene.apart(scene.browser.login, scene.folder)
    assert "cannot be read" not in await scene.apart(scene.browser.get, "/")
    policy = scene.folder / "policy.toml"
    policy.write_text(policy.read_text() + "\n[[grant]\n")
    assert "policy.toml cannot be read: nothing is approved." in await scene.apart(scene.browser.get, "/")
    policy.write_text("")
    (scene.folder / "standing.toml").write_text(
        '[[standing]]\nname = "x"\nsql = "SELECT 1"\nto = ["analist"]\npurpose = "p"\nruns = 1\nper = "day"\n'
        "expires = 2999-01-01\n"
    )
    assert "no member is called analist" in await scene.apart(scene.browser.get, "/standing")


async def test_what_is_over_is_no_question_any_more(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(over, "LOOK", 0.05)
    browser = scene.browser
    await scene.apart(browser.login, scene.folder)
    job = await waiting(scene)
    page = await scene.apart(browser.get, f"/pending/{job}")
    # Enter in the field of the reason presses the first button of the form, which must not be the one that approves
    assert re.findall("<button[^>]*>", page.partition('class="decide"')[2])[0] == "<button disabled hidden>"
    csrf = browser.csrf(page)
    await scene.running.ask("analyst", "cancel", job)
    for _ in range(100):
        if "over, ended elsewhere (job.cancelled)" in (page := await scene.apart(browser.get, "/pending")):
            break
        await asyncio.sleep(0.1)
    assert "Nothing waits." in page and job[:16] in page
    page = await scene.apart(browser.get, f"/pending/{job}")
    assert "over, ended elsewhere (job.cancelled)" in page and 'class="decide"' not in page
    status, _, page = await scene.apart(browser.post, f"/pending/{job}", csrf=csrf, verdict="approved")
    assert status == 409 and "ended elsewhere" in page
    assert "已了结" in await scene.apart(browser.get, f"/pending/{job}?language=zh")


def test_every_word_has_its_chinese() -> None:
    folder = Path(words.__file__).parent
    found = set()
    for page in (folder / "templates").glob("*.html"):
        found |= set(re.findall(r'_\("([^"]+)"', page.read_text(encoding="utf-8")))
    code = (folder / "app.py").read_text(encoding="utf-8")
    found |= set(re.findall(r'say\("([^"]+)"', code)) | set(re.findall(r'(?:problem|told)=?"([A-Z][^"]+)"', code))
    assert found <= CHINESE.keys(), found - CHINESE.keys()
    for english, chinese in CHINESE.items():
        assert english.count("{}") == chinese.count("{}"), english


@pytest.mark.slow
async def test_in_a_browser(scene: Scene, tmp_path: Path) -> None:
    """Headless Chromium shows the login page over the node's own certificate, with its style."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    picture = tmp_path / "login.png"
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors"]
    command += ["--window-size=900,700", f"--screenshot={picture}", f"https://127.0.0.1:{scene.browser.port}/login"]
    await scene.apart(subprocess.run, command, check=True, capture_output=True, timeout=90)
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 5_000
