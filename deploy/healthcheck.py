"""Whether the service answers, for a container's health check; else a traceback."""

import http.client
import os
from urllib.parse import urlsplit

path = urlsplit(os.environ["PUBLIC_URL"]).path.rstrip("/")
port = int(os.environ.get("PORT", "8000"))
service = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
service.request("GET", f"{path}/healthz")
status = service.getresponse().status
if status != 200:
    raise SystemExit(f"/healthz: {status}")
