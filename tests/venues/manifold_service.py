"""A service that answers as Manifold's public API does (https://docs.manifold.markets/api): lists, single markets, bets."""

from typing import Any

from aiohttp import web

from truetape import clock

ANSWERS = {"aOne11": "Ada", "bTwo22": "Grace", "cThree3": "Other"}


class Manifold:
    """Four markets: one that goes on, one that is resolved NO, one of three answers that is resolved to one, a poll."""

    def __init__(self, ends_s: float) -> None:
        self.ends_s = ends_s
        """When two of them are resolved."""
        self.asked: list[tuple[str, dict[str, str], str]] = []
        """(path, arguments, Authorization)."""

    @property
    def _now_ms(self) -> int:
        return clock.wall_ns() // 10**6

    def make_app(self) -> web.Application:
        """Return what serves it."""
        app = web.Application()
        app.router.add_get("/v0/search-markets", self._search)
        app.router.add_get("/v0/market/{id}", self._tell)
        app.router.add_get("/v0/bets", self._list_bets)
        return app

    def describe(self, number: int, *, is_full: bool) -> dict[str, Any]:
        """Describe a market: a `LiteMarket`, or with all that a `FullMarket` has more. What is not known is left out."""
        kind = ("BINARY", "BINARY", "MULTIPLE_CHOICE", "POLL")[number]
        is_over = number in (1, 2) and self._now_ms >= self.ends_s * 1000
        told: dict[str, Any] = {
            "id": f"market{number}Xyz", "creatorId": "igi2zGXsfxYPgB0DJTXVJVmwCOr2", "creatorUsername": "Austin",
            "creatorName": "Austin", "createdTime": self._now_ms - 10**9, "question": f"Will {number} happen?",
            "slug": f"will-{number}", "url": f"https://manifold.markets/Austin/will-{number}", "outcomeType": kind,
            "mechanism": {"BINARY": "cpmm-1", "MULTIPLE_CHOICE": "cpmm-multi-1", "POLL": "none"}[kind],
            "volume": [90_241.25, 5000, 8000.5, 0][number], "volume24Hours": 0, "isResolved": is_over,
            "uniqueBettorCount": 12, "lastUpdatedTime": self._now_ms - 5000, "token": "MANA",
        }  # fmt: skip
        if number != 3:
            told |= {"totalLiquidity": 1000.0, "closeTime": int(self.ends_s * 1000) + (0 if number else 10**10)}
        if kind == "BINARY":
            told |= {"probability": (0.62, 0.08)[number], "p": 0.5, "pool": {"YES": 100.5, "NO": 164.0}}
        if is_over:
            told |= {"resolution": "NO" if number == 1 else "bTwo22", "resolutionTime": int(self.ends_s * 1000)}
        if is_full:
            told |= {"description": {"type": "doc", "content": []}, "textDescription": "", "groupSlugs": ["ai"]}
        if is_full and kind == "MULTIPLE_CHOICE":
            told |= {"shouldAnswersSumToOne": True, "addAnswersMode": "DISABLED", "answers": [
                {"id": key, "index": index, "contractId": told["id"], "text": text, "createdTime": told["createdTime"],
                 "userId": "x", "probability": (0.2, 0.7, 0.1)[index], "pool": {"YES": 10.0, "NO": 5.0}}
                for index, (key, text) in enumerate(ANSWERS.items())
            ]}  # fmt: skip
        if is_full and kind == "POLL":
            told["options"] = [{"id": "o", "text": "yes?", "votes": 3}]
        return told

    async def _search(self, request: web.Request) -> web.Response:
        self._note(request)
        listed = [self.describe(number, is_full=False) for number in range(4)]
        return web.json_response([one for one in listed if not one["isResolved"]])

    async def _tell(self, request: web.Request) -> web.Response:
        self._note(request)
        for number in range(4):
            if request.match_info["id"] == f"market{number}Xyz":
                return web.json_response(self.describe(number, is_full=True))
        return web.json_response({"message": "Contract not found"}, status=404)

    async def _list_bets(self, request: web.Request) -> web.Response:
        """Newest first; bets on one of several answers say on which."""
        self._note(request)
        market = request.query["contractId"]
        bets = [
            {"id": f"bet{n}", "userId": "u", "contractId": market, "createdTime": self._now_ms - n * 60_000,
             "amount": 10, "orderAmount": 10, "shares": 17.3, "outcome": "YES" if n % 2 else "NO", "isFilled": True,
             "isCancelled": False, "probBefore": 0.5, "probAfter": 0.5 + n / 100, "fills": [], "loanAmount": 0,
             "fees": {"creatorFee": 0, "liquidityFee": 0, "platformFee": 0}}
            for n in range(1, 6)
        ]  # fmt: skip
        if market == "market2Xyz":
            bets = [{**bet, "answerId": [*ANSWERS][n % 3]} for n, bet in enumerate(bets)]
        return web.json_response(bets)

    def _note(self, request: web.Request) -> None:
        self.asked.append((request.path, dict(request.query), request.headers.get("Authorization", "")))
