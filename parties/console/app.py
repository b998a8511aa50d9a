"""The pages, and what may be done on them.

    /              how the node is, and how many requests wait
    /pending       what waits for a person; /pending/JOB: all about it, approve or reject
    /policy        the policy in force, grant by grant, and its text
    /released      which jobs this node took part in, for whom and when
    /standing      standing approvals, approve or withdraw
    /stop          ends what runs and lets nothing run any more; resumes

Every page but /login and /style.css asks for a session. Nothing is loaded from anywhere else, there are no scripts, and
what others wrote (SQL, purposes, names) is escaped by the templates. Decisions go through the same store as those of
``heji jobs approve`` and ``heji node stop``.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from mpc.errors import HejiError, LocalError
from mpc.evidence.note import Checkpoint
from mpc.policy.budget import balances, decimal
from mpc.policy.grants import BITS_DAYS, Grant, Policy
from mpc.policy.standing import Standing
from parties import files
from parties.console.session import LASTS, Session, Sessions
from parties.console.words import speaker
from parties.evidence.log import origin_of
from parties.evidence.recorder import Recorder
from parties.member import Member
from parties.node.decisions import Decision, Word
from parties.node.earlier import MOST
from parties.node.inputs import Inputs
from parties.node.permission import read_policy
from parties.node.standing import read_standing, state_of
from parties.node.store import Store
from parties.node.unknown_names import Known
from parties.visible import visible

COOKIE, LANGUAGE = "__Host-heji", "heji-language"
MAX_FORM_BYTES = 64 * 1024
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

Page = Callable[[Request, Session], Awaitable[Response]]


class Console:
    """The pages of one node."""

    def __init__(
        self,
        member: Member,
        store: Store,
        inputs: Inputs,
        sessions: Sessions,
        recorder: Recorder | None,
        running: Callable[[], int],
    ) -> None:
        """``running``: how many jobs are under way."""
        self._member, self._store, self._inputs, self._sessions = member, store, inputs, sessions
        self._recorder, self._running = recorder, running
        self._pages = Environment(
            loader=PackageLoader("parties.console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            finalize=lambda value: visible(value) if type(value) is str else value,
        )

    def app(self) -> Starlette:
        """The application to serve."""
        routes = [
            Route("/login", self._login, methods=["GET", "POST"]),
            Route("/style.css", self._style),
            Route("/logout", self._guarded(self._logout), methods=["POST"]),
            Route("/", self._guarded(self._overview)),
            Route("/pending", self._guarded(self._pending)),
            Route("/pending/{job:str}", self._guarded(self._request), methods=["GET", "POST"]),
            Route("/policy", self._guarded(self._policy)),
            Route("/released", self._guarded(self._released)),
            Route("/standing", self._guarded(self._standing), methods=["GET", "POST"]),
            Route("/stop", self._guarded(self._stop), methods=["GET", "POST"]),
            Route("/{rest:path}", self._guarded(self._nowhere)),
        ]
        return Starlette(routes=routes)

    # -- coming in

    async def _login(self, request: Request) -> Response:
        problem = ""
        if request.method == "POST":
            try:
                cookie, problem = self._sessions.login((await _form(request)).get("token", "")), ""
            except LocalError as error:
                cookie, problem = None, error.message
            if cookie is not None:
                response: Response = RedirectResponse("/", 303, headers=_HEADERS)
                response.set_cookie(
                    COOKIE, cookie, max_age=LASTS, path="/", secure=True, httponly=True, samesite="strict"
                )
                return response
            locked = self._sessions.locked
            wrong = "Too many wrong tokens: wait a minute." if locked else "This is nobody's token."
            problem = problem or wrong
        return self._page(request, "login.html", None, status=403 if problem else 200, problem=problem)

    def _guarded(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        """Only with a session; forms only with its secret."""

        async def handle(request: Request) -> Response:
            try:
                session = self._sessions.find(request.cookies.get(COOKIE, ""))
            except LocalError:
                session = None
            if session is None:
                return RedirectResponse("/login", 303, headers=_HEADERS)
            if request.method == "POST":
                form = await _form(request)
                if form.get("csrf") != session.csrf:
                    told = "The form is not from this session. Go back and try again."
                    return self._page(request, "told.html", session, status=403, told=told)
                request.state.form = form
            return await page(request, session)

        return handle

    async def _logout(self, request: Request, _session: Session) -> Response:
        self._sessions.logout(request.cookies.get(COOKIE, ""))
        response = RedirectResponse("/login", 303, headers=_HEADERS)
        response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")
        return response

    # -- pages

    async def _overview(self, request: Request, session: Session) -> Response:
        member = self._member
        listed = member.roster.member(member.name)
        return self._page(
            request,
            "overview.html",
            session,
            waiting=len(self._waiting()),
            problem=self._in_force() is None,
            stop=self._store.decisions.stopped(),
            roster=member.roster,
            tables=self._inputs.catalog().tables,
            running=self._running(),
            free=f"{shutil.disk_usage(member.folder).free / 1e9:.1f}",
            until=_time(listed.valid_until),
            entries=len(self._recorder.log) if self._recorder else 0,
            cosigned=", ".join(self._cosigned()) or "-",
        )

    async def _pending(self, request: Request, session: Session) -> Response:
        decided = [d for d in reversed(self._store.decisions.all()) if d.state != "pending" or d.over][:20]
        return self._page(request, "pending.html", session, waiting=self._waiting(), decided=decided, over=self._over)

    async def _request(self, request: Request, session: Session) -> Response:
        found = self._store.decisions.of(request.path_params["job"])
        if found is None:
            return await self._nowhere(request, session)
        problem = told = ""
        if request.method == "POST":
            problem, told, found = self._decide(found, request.state.form, session)
        status = 409 if problem else 200
        related = self._store.earlier.related(found.job, found.recipients)
        return self._page(
            request,
            "request.html",
            session,
            status=status,
            d=found,
            over=self._over,
            problem=problem,
            told=told,
            related=related[:MOST],
            more=max(len(related) - MOST, 0),
        )

    async def _policy(self, request: Request, session: Session) -> Response:
        path = self._member.folder / "policy.toml"
        try:
            policy, problem = read_policy(self._member.folder), ""
        except HejiError as error:
            policy, problem = None, error.message
        raw = files.read(path, "the policy").decode(errors="replace") if path.exists() else ""
        return self._page(request, "policy.html", session, policy=policy, problem=problem, text=raw, limits=_limits)

    async def _released(self, request: Request, session: Session) -> Response:
        today = dt.datetime.fromtimestamp(self._member.clock(), dt.UTC).date()
        since = today - dt.timedelta(days=BITS_DAYS)
        shown: dict[tuple[str, str], int] = {}
        for _job, table, column, organisation, bits in self._store.bits(since.isoformat()):
            shown[f"{table}.{column}", organisation] = shown.get((f"{table}.{column}", organisation), 0) + bits
        return self._page(
            request,
            "released.html",
            session,
            jobs=self._store.jobs(200),
            shown=sorted(shown.items()),
            days=BITS_DAYS,
            budgets=self._budgets(today),
        )

    def _budgets(self, today: dt.date) -> list[tuple[Grant, str, str]]:
        """What is left of each grant's budget, for whom; nothing where policy.toml cannot be read."""
        policy = self._in_force()
        if policy is None:
            return []
        return [(g, who, decimal(left)) for g, who, left in balances(self._store.budgets.all(), policy, today)]

    async def _standing(self, request: Request, session: Session) -> Response:
        folder, words = self._member.folder, self._store.standing
        problem, policy, found, nobody = "", "", [], {}
        known = Known(self._member.roster, None)
        try:
            policy, listed = read_policy(folder).digest, read_standing(folder)
            if request.method == "POST":
                problem = self._approve_standing(listed, policy, request.state.form, session)
            found = [state_of(s, words, policy, self._member.clock()) for s in listed]
            nobody = {s.name: known.strangers(s) for s in listed}
        except LocalError as error:
            problem = error.message
        status = 409 if problem else 200
        return self._page(request, "standing.html", session, status=status, found=found, problem=problem, nobody=nobody)

    async def _stop(self, request: Request, session: Session) -> Response:
        problem = self._stop_or_resume(request.state.form, session) if request.method == "POST" else ""
        stop, status = self._store.decisions.stopped(), 409 if problem else 200
        return self._page(
            request, "stop.html", session, status=status, stop=stop, running=self._running(), problem=problem
        )

    async def _nowhere(self, request: Request, session: Session) -> Response:
        return self._page(request, "told.html", session, status=404, told="This page is not there.")

    async def _style(self, _request: Request) -> Response:
        text = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
        return Response(text, media_type="text/css", headers={**_HEADERS, "Cache-Control": "max-age=600"})

    # -- what they do

    def _over(self, d: Decision, say: Callable[..., str]) -> str:
        """Why nothing is left to decide about a job; "" while something is."""
        if d.ran:
            return say("it has run")
        if d.over is not None:
            why = ", ".join(filter(None, (d.over.party, d.over.code)))
            return say("over, ended elsewhere") + (f" ({why})" if why else "")
        return say("over, it has expired") if d.expires <= self._member.clock() else ""

    def _in_force(self) -> Policy | None:
        """None where policy.toml cannot be read: then nothing is approved."""
        try:
            return read_policy(self._member.folder)
        except HejiError:
            return None

    def _waiting(self) -> list[Decision]:
        return self._store.decisions.waiting(self._member.clock())

    def _decide(self, asked: Decision, form: dict[str, str], session: Session) -> tuple[str, str, Decision]:
        """(problem, what happened, the request as it stands now)."""
        reason = form.get("reason", "").strip()[:500]
        approve = form.get("verdict") == "approved"
        if form.get("verdict") not in ("approved", "rejected") or not reason.isprintable():
            return "This page is not there.", "", asked
        if not approve and not reason:
            return "A rejection needs a reason.", "", asked
        try:
            word = Word(session.person, self._member.clock(), reason, "console", approve)
            done = self._store.decisions.decide(asked.job, word)
        except LocalError as error:
            return error.message, "", asked
        policy = self._in_force()
        if approve and (policy is None or policy.digest != done.policy):
            return "", "policy.toml has changed since the question: it is asked again, and this approval is void.", done
        return "", _done(done), done

    def _approve_standing(self, listed: Sequence[Standing], policy: str, form: dict[str, str], session: Session) -> str:
        """What is wrong, "" if nothing is. What was shown is what is approved: the form has its digest."""
        shown = next((s for s in listed if s.digest() == form.get("digest")), None)
        if shown is None or form.get("verdict") not in ("approved", "withdrawn"):
            return "It has changed since this page was shown. Look again."
        try:
            if form["verdict"] == "withdrawn":
                self._store.standing.withdraw(shown)
            else:
                self._store.standing.approve(shown, policy, Word(session.person, self._member.clock(), "", "console"))
        except LocalError as error:
            return error.message
        return ""

    def _stop_or_resume(self, form: dict[str, str], session: Session) -> str:
        """What is wrong, "" if nothing is."""
        reason = form.get("reason", "").strip()[:500]
        if form.get("verdict") not in ("stop", "resume") or not reason.isprintable():
            return "This page is not there."
        try:
            word = Word(session.person, self._member.clock(), reason, "console")
            if form["verdict"] == "stop":
                self._store.decisions.stop(word, now=True)
            else:
                self._store.decisions.resume(word)
        except LocalError as error:
            return error.message
        return ""

    def _cosigned(self) -> list[str]:
        point: Checkpoint | None = self._recorder.log.latest() if self._recorder else None
        keys = {origin_of(m.name): bytes.fromhex(m.identity) for m in self._member.roster.members}
        return sorted(o.removeprefix("heji/") for o in point.cosignatures(keys)) if point else []

    def _page(self, request: Request, name: str, session: Session | None, status: int = 200, **facts: Any) -> Response:
        wish = request.query_params.get("language") or request.cookies.get(LANGUAGE) or _accepted(request)
        language = "zh" if wish.startswith("zh") else "en"
        say = speaker(language)
        html = self._pages.get_template(name).render(
            _=say,
            time=_time,
            language=language,
            session=session,
            name=self._member.name,
            path=request.url.path,
            **facts,
        )
        response = HTMLResponse(html, status, headers=_HEADERS)
        if request.query_params.get("language"):
            response.set_cookie(LANGUAGE, language, max_age=10**7, secure=True, httponly=True, samesite="strict")
        return response


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form; empty where it is too long or not text."""
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_FORM_BYTES:
            return {}
    try:
        return {k: v[-1] for k, v in parse_qs(raw.decode("utf-8"), keep_blank_values=True, max_num_fields=20).items()}
    except ValueError:
        return {}


def _accepted(request: Request) -> str:
    """The language the browser asks for first."""
    return request.headers.get("accept-language", "en").split(",")[0].strip().lower()


def _done(d: Decision) -> str:
    """What happened to a job by somebody's word."""
    if d.state == "pending":
        return "Your approval is kept. Another person has to approve too."
    if d.state == "approved":
        return "Approved. The job runs when the others agree."
    return "Rejected. Whoever asked is told why."


def _limits(g: Grant, say: Callable[..., str]) -> list[str]:
    """What a grant asks for besides."""
    if g.budget is not None:  # noise takes the place of limits that look at exact counts
        found = [say("with noise, epsilon {} in {} days", f"{g.budget.epsilon:f}", g.budget.days)]
    else:
        found = [say("at least {} entities a cell", g.min_entities)] if g.min_entities else []
        found += [say("no entity above {} of a sum", g.max_share)] if g.max_share is not None else []
        found += [say("at most {} numbers over one population", g.max_numbers)] if g.max_numbers is not None else []
        found += [say("sums rounded to {}", g.round_to)] if g.round_to is not None else []
    found += [say("at least {} institutions", g.min_contributors)] if g.min_contributors > 1 else []
    found += [say("until {}", g.expires)] if g.expires else []
    asked = {0: [], 1: [say("each job waits for you")], 2: [say("each job waits for two persons")]}
    return found + asked[g.persons]


def _time(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
