"""A package index on the loopback interface that serves recorded genuine metadata: nothing of it is made up, and no wheel is there.

`data/lock_index.json` holds, as `scripts/lock_record.py` wrote it:

    files      of PyPI: package → [file name, path on the file host, sha256]
    metadata   "package version" → the lines of METADATA that a resolver reads
    pytorch    of download.pytorch.org: build → package → [file name, sha256 or null]
"""

from __future__ import annotations

import contextlib
import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from packaging.utils import parse_wheel_filename

DATA = Path(__file__).parent / "data" / "lock_index.json"


class RecordedIndex:
    """Serves until closed; `mirrors` are the words for `--mirror`."""

    def __init__(self, data: dict[str, Any] | None = None) -> None:
        self.data = data if data is not None else json.loads(DATA.read_text(encoding="utf-8"))
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                answer = outer.answer(urllib.parse.unquote(self.path))
                if answer is None:
                    self.send_error(404)
                    return
                kind, body = answer
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # a resolver leaves when it knows enough
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def mirrors(self) -> list[str]:
        return [
            f"https://pypi.org/simple={self.url}/simple",
            f"https://files.pythonhosted.org/={self.url}/files/",
            f"https://download.pytorch.org/={self.url}/pytorch/",
        ]

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """(content type, body) of a page; None where there is none."""
        parts = path.strip("/").split("/")
        if parts[0] == "simple" and len(parts) == 2:
            return self._json(self.files(parts[1]))
        if parts[:2] == ["pytorch", "whl"] and len(parts) == 4 and not path.endswith(".metadata"):
            return self._html(self.data["pytorch"].get(parts[2], {}).get(parts[3]), parts[2])
        if path.endswith(".whl.metadata"):
            return self._metadata(parts[-1].removesuffix(".metadata"))
        return None

    def files(self, name: str) -> list[list[str]] | None:
        return self.data["files"].get(name)

    def _json(self, files: list[list[str]] | None) -> tuple[str, bytes] | None:
        if files is None:
            return None
        rows = [
            {"filename": name, "url": f"{self.url}/files/{path}", "hashes": {"sha256": digest}, "core-metadata": True}
            for name, path, digest in files
        ]
        document = {"meta": {"api-version": "1.1"}, "name": "x", "files": rows}
        return "application/vnd.pypi.simple.v1+json", json.dumps(document).encode()

    def _html(self, files: list[list[Any]] | None, build: str) -> tuple[str, bytes] | None:
        """The way that index writes its pages: addresses without a host, digests as fragments."""
        if files is None:
            return None
        rows = []
        for name, digest in files:
            address = f"/pytorch/whl/{build}/{urllib.parse.quote(name)}" + (f"#sha256={digest}" if digest else "")
            rows.append(f'    <a href="{address}" data-dist-info-metadata="true" data-core-metadata="true">{name}</a><br/>')
        return "text/html", ("<!DOCTYPE html>\n<html>\n  <body>\n" + "\n".join(rows) + "\n  </body>\n</html>\n").encode()

    def _metadata(self, filename: str) -> tuple[str, bytes] | None:
        name, version, _, _ = parse_wheel_filename(filename)
        lines = self.data["metadata"].get(f"{name} {version.public}")
        if lines is None:
            return None
        if version.local == "cpu":  # these builds require neither CUDA's libraries nor Triton
            lines = [x for x in lines if not x.startswith(("Requires-Dist: nvidia-", "Requires-Dist: triton"))]
        head = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        return "application/octet-stream", "\n".join([*head, *lines, "", ""]).encode()
