"""A page that is open in a browser, and what it did that no report may do."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, Page, Request


class Visit:
    """A page that is open, and what it did that no report may do."""

    def __init__(self, browser: Browser, path: Path, *, width: int = 1400, scheme: str = "light") -> None:
        self.page: Page = browser.new_page(
            viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=False
        )
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self._note_text(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append("alert"), dialog.dismiss()))
        self.page.on("request", self._note_request)
        self.page.goto(path.as_uri())

    def _note_text(self, text: str) -> None:
        # A browser without a graphics card says that it is slow.
        if "GL Driver Message (OpenGL, Performance" not in text:
            self.complaints.append(text)

    def _note_request(self, request: Request) -> None:
        if not request.url.startswith(("file:", "data:")):
            self.complaints.append(request.url)

    def keys(self) -> list[str]:
        return self.page.locator("#rows th").all_inner_texts()

    def column(self, number: int) -> list[str]:
        return self.page.locator(f"#rows td:nth-child({number})").all_inner_texts()
