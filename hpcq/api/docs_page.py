"""/docs: Swagger UI out of the installed wheel, without a network; its start-up code is a file of our own."""

from functools import cache
from importlib.resources import files

from aiohttp import web
from aiohttp.typedefs import Handler

# 'unsafe-inline' is for Swagger UI's style attributes; scripts come from files only.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
CARRIER = "swagger_ui"
ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>hpcq API</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
START = """\
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#ui",
  deepLinking: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
"""
PATHS = ("/docs", "/docs/{file}")
OURS = {"": (PAGE, "text/html"), "start.js": (START, "text/javascript")}


@cache
def _content(name: str) -> tuple[bytes, str] | None:
    if name in OURS:
        text, media = OURS[name]
        return text.encode(), media
    if name in ASSETS:
        return files(CARRIER).joinpath("static", name).read_bytes(), ASSETS[name]
    return None


def document(text: bytes) -> Handler:
    """The handler of /openapi.json."""

    async def serve_document(_: web.Request) -> web.Response:
        return web.Response(body=text, content_type="application/json", headers={"Cache-Control": "no-cache"})

    return serve_document


async def serve(request: web.Request) -> web.Response:
    """The page, or one of its files."""
    found = _content(request.match_info.get("file", ""))
    if found is None:
        raise web.HTTPNotFound
    body, media = found
    response = web.Response(
        body=body,
        content_type=media,
        charset="utf-8" if media.startswith("text/") else None,
        headers={"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"},
    )
    response.enable_compression()
    return response
