"""Drives a browser page, and collects its console errors and its requests to other hosts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.api.web.example_history import History

AUDIT = Path(__file__).with_name("audit.js").read_text(encoding="utf-8")
PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1280, "height": 800}


@dataclass
class PageDriver:
    """A page in a fresh browser profile. page: playwright's page."""

    history: History
    context: Any
    page: Any
    console_errors: list[str] = field(default_factory=list)
    foreign_requests: list[str] = field(default_factory=list)

    def go(self, path: str) -> Any:
        """Open an address of the service."""
        return self.page.goto(f"{self.history.url}{path}")

    def audit(self) -> list[str]:
        """The accessibility and layout problems of the current page."""
        return list(self.page.evaluate(AUDIT))

    def look_up(self, **typed: str) -> None:
        """Fill in the lookup form and send it."""
        self.go("/lookup")
        for name, value in typed.items():
            self.page.fill(f"#{name}", value)
        with self.page.expect_navigation():
            self.page.click("main button[type=submit]")

    def sign_in(self, token: str) -> None:
        """Paste a token on the sign-in page."""
        self.go("/sign-in")
        self.page.fill("#token", token)
        with self.page.expect_navigation():
            self.page.click("main button[type=submit]")

    def text(self) -> str:
        """The visible text of the page."""
        return str(self.page.inner_text("body"))


def page_driver(browser: Any, history: History, address: str, **given: Any) -> PageDriver:
    """A page in a context of its own. given: as for playwright's new_context."""
    options = {"viewport": DESKTOP, "locale": "zh-CN"} | given
    context = browser.new_context(extra_http_headers={"X-Forwarded-For": address}, **options)
    driver = PageDriver(history, context, context.new_page())

    def heard(message: Any) -> None:
        # A page that answers 404 or 422 is one; the browser says so on its console.
        if message.type in ("error", "warning") and "status of 4" not in message.text:
            driver.console_errors.append(message.text)

    def asked(request: Any) -> None:
        if not request.url.startswith(f"{history.url}/"):
            driver.foreign_requests.append(request.url)

    driver.page.on("console", heard)
    driver.page.on("pageerror", lambda error: driver.console_errors.append(str(error)))
    context.on("request", asked)
    return driver
